-- destroys: table notes

drop table public.notes;
