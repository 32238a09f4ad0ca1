"""The fields of a recipe, a module a subject; `pipelines.recipes` puts them together. Light: pydantic and no more."""
