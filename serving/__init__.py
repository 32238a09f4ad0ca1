"""How a network is offered: export, model repository, model server and client.

Serves any SavedModel, so it imports neither `zoo` nor `pipelines`.
"""
