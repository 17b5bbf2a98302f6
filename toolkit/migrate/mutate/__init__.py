"""Mutation testing for migrations: which wrong versions of a folder would nobody notice?"""
