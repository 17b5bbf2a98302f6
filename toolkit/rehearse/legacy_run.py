"""A whole generation over the legacy WebSocket, as the old browser client drove it."""

from __future__ import annotations

from urllib.parse import urlsplit

import orjson
import websockets

from toolkit.contract.prompts import InputType
from toolkit.rehearse.runs import ANSWERS, BODY, RUN_DEADLINE_S, Run, guarded
from toolkit.targets.target import Target


async def legacy_run(target: Target, run: Run, *, deadline_s: float = RUN_DEADLINE_S) -> Run:
    parts = urlsplit(target.get("API_URL"))
    url = f"ws://{parts.netloc}/api/articles/ws/generate"

    async def work() -> None:
        try:
            async with websockets.connect(
                url,
                additional_headers={"Authorization": f"Bearer {target.user_token(run.user)}"},
                proxy=None,
                max_size=None,
            ) as socket:
                await socket.send(orjson.dumps(BODY).decode())
                async for text in socket:
                    payload = orjson.loads(text).get("payload")
                    if payload is None:
                        continue
                    if payload.get("process_id"):
                        run.process_id = payload["process_id"]
                    if "error_message" in payload:
                        run.error = payload["error_message"]
                        continue
                    run.feedback()
                    if "request_type" in payload:
                        run.prompts_put += 1
                        response, answer = ANSWERS[InputType(payload["request_type"])]
                        await socket.send(
                            orjson.dumps(
                                {"type": "client_response", "response_type": response, "payload": answer}
                            ).decode()
                        )
                        run.prompts_answered += 1
                    if "final_html_content" in payload:
                        run.article_id = payload["article_id"]
                        break
                if not run.article_id:
                    run.error = f"{socket.close_code} {socket.close_reason} {run.error}"
        except websockets.ConnectionClosed as error:
            run.error = f"{error} {run.error}"

    await guarded(run, work, deadline_s)
    return run
