"""REST requests, nearly all of which no honest client sends; a kind of them is a function of a random generator."""

import base64
import gzip
import json
import math

from tests.serving.model_server.fuzz_basics import NAMES, SIGNATURES, Rest, damaged, some_images

_NUMBERS = ["0", "-0", "1", "2", "-1", "1.5", "1E+2", "1e-400", "1e400", "-1e400", "NaN", "Infinity", "-Infinity"]
_NUMBERS += ["16777217", "2147483648", "9223372036854775808", "18446744073709551616", "1" * 25, "1" * 400, "9" * 5000]
_NO_NUMBERS = ["01", "1.", ".5", "+1", "0x1", "1e", "--1", "nan", "'1'", "1_0", "\u0661"]
_STRINGS = ["", "a", "b64", "x", "\\ud800", "\\udfff\\ud800", "\\u0000", "ü", "\\x", "\t", "serving_default"]
_STRINGS += ["AA==", "AA", "_-8=", "A", "AA==AA==", "= =", "****", "s" * 2000]
_OTHERS = [
    "true",
    "false",
    "null",
    "[]",
    "{}",
    '{"b64": "AA=="}',
    '{"b64": "_-8="}',
    '{"b64": 1}',
    '{"b64": "\\ud800"}',
]
_PLACES = ["instances", "inputs", "examples", "context", "signature_name"]
_KEYS = [*_PLACES, "x", "n", "s", "k", "b", "b64", "image_bytes", "image/encoded", "", "\\ud800", "ü"]
_DEPTHS = (3, 30, 32, 33, 63, 64, 65, 66, 200, 400, 900, 990, 1000, 3000, 100_000)
_PIECES = ["/v1", "/V1", "/models", "/half", "/many", "/versions", "/labels", "/stable", "/1", "/2", "/00", "/metadata"]
_PIECES += [":predict", ":classify", ":regress", ":", "//", "/..", "%2F", "%00", "%ff", "%", "?a=b", "#", "*"]
_PIECES += ["/99999999999999999999", "/" + "1" * 5000]
_PIECES += [
    "/v1/models/half",
    "/v1/models/half:predict",
    "/v1/models/image/metadata",
    "/versions/1",
    "/labels/stable",
] * 3
_METHODS = ["POST", "POST", "GET", "GET", "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "BREW"]
_HEADERS = {
    "Content-Type": ["", "text/plain", "application/json; charset=utf-16", "multipart/form-data", "x" * 2000],
    "Accept-Encoding": ["gzip", "*;q=0"],
    "Expect": ["100-continue", "nothing"],
    "Connection": ["close", "upgrade"],
    "Upgrade": ["websocket", "h2c"],
    "Host": ["", "elsewhere:1"],
    "Origin": ["null", b"\xff"],
}


def request_of(path, document, **more):
    """A request with a document, or the text of one."""
    text = document if isinstance(document, str) else json.dumps(document)
    return Rest(f"/v1/models/{path}", text.encode(), **more)


def _right_request(rng):
    (name, signature), inputs = rng.choice(list(SIGNATURES.items()))
    columns = {
        alias: [text.decode("latin-1") for text in value] if value.dtype == object else value.tolist()
        for alias, value in inputs.items()
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    document = rng.choice(({"instances": rows}, {"inputs": columns}))
    return request_of(f"{name}:predict", {"signature_name": signature or "serving_default", **document})


def damaged_json(rng):
    request = _right_request(rng)
    return Rest(request.target, damaged(rng, request.body))


def _odd_json(rng, depth=0):
    """The text of a value: ragged, of mixed types, with the same key twice, and sometimes no JSON at all."""
    kind = rng.randrange(10 if depth < 5 else 6)
    if kind < 3:
        return rng.choice(rng.choices((_NUMBERS[:7], _NUMBERS, _NO_NUMBERS), (30, 10, 1))[0])
    if kind == 3:
        return f'"{rng.choice(_STRINGS)}"'
    if kind == 4:
        return rng.choice(_OTHERS)
    if kind == 5:
        return f"[{', '.join([rng.choice(_NUMBERS[:7])] * rng.randrange(1, 40))}]"
    members = [_odd_json(rng, depth + 1) for _ in range(rng.randrange(4))] * rng.choice((1, 1, 2))
    if kind < 8:
        return f"[{', '.join(members)}]"
    return "{" + ", ".join(f'"{rng.choice(_KEYS)}": {member}' for member in members) + "}"


def _almost_regular(rng):
    """The text of lists of one shape and type, one element excepted."""
    shape = [rng.randrange(1, 4) for _ in range(rng.choice((0, 1, 1, 1, 2, 3)))]
    element = rng.choice(("1", "1", "2.5", '"a"', "true", '{"b64": "AA=="}', '{"x": 1, "n": 2}', '{"s": "a"}'))
    leaves = [element] * math.prod(shape)
    if rng.random() < 0.6:
        leaves[rng.randrange(len(leaves))] = _odd_json(rng, 4)
    for size in reversed(shape):
        leaves = [f"[{', '.join(leaves[start : start + size])}]" for start in range(0, len(leaves), size)]
    return leaves[0]


def _nested(rng):
    depth = rng.choice(_DEPTHS)
    opening, closing = rng.choice((("[", "]"), ('{"a": ', "}"), ('[{"x": ', "}]")))
    return opening * depth + rng.choice(("1", '"a"', "", "true")) + closing * rng.choice((depth, depth, depth - 1, 0))


def odd_documents(rng):
    """What a request may say, with values that it may not: rows beside columns, nesting without end."""
    name, signature = rng.choice([*SIGNATURES, ("image", "predict_bytes")])
    value = rng.choices((_almost_regular, _odd_json, _nested), (5, 4, 2))[0]
    keys = rng.choices(_PLACES, (8, 8, 3, 2, 1), k=rng.choice((1, 1, 1, 2, 3)))
    members = [f'"{key}": {value(rng)}' for key in keys]
    if rng.random() < 0.8:
        members.insert(rng.randrange(2), f'"signature_name": "{signature or "serving_default"}"')
    verb = rng.choices(("predict", "classify", "regress"), (10, 1, 1))[0]
    return request_of(f"{name}:{verb}", "{" + ", ".join(members) + "}" if rng.random() < 0.95 else value(rng))


def odd_examples(rng):
    """For a model that takes the feature `x`, one that takes images, and one that takes no examples."""
    path, signature = rng.choice((("judging:regress", ""), ("image:classify", "classify"), ("many:classify", "text")))
    features = []
    for _ in range(rng.randrange(5)):
        name = rng.choice(("x", "x", "x", "image/encoded", rng.choice(_KEYS)))
        value = rng.choice(("1.5", "1.5", "[2.5]", '{"b64": "AA=="}', _almost_regular(rng), _odd_json(rng, 4)))
        features.append(f'"{name}": {value}')
    examples = [f"{{{feature}}}" for feature in features] if rng.random() < 0.8 else [f"{{{', '.join(features)}}}"]
    members = [f'"examples": [{", ".join(examples)}]'] * rng.choice((1, 1, 1, 2))
    members += [f'"context": {rng.choice([*examples, _odd_json(rng, 4)])}'] * rng.choice((0, 0, 1))
    if signature:
        members.insert(rng.randrange(2), f'"signature_name": "{signature}"')
    return request_of(path, "{" + ", ".join(members) + "}")


def packed_bodies(rng):
    request = _right_request(rng)
    packed = gzip.compress(request.body, mtime=0)
    body = rng.choice((packed, packed, damaged(rng, packed), packed * 2, request.body, b""))
    encoding = rng.choice(("gzip", "gzip", "gzip", "GZIP", "br", "gzip, gzip", "identity", ""))
    return Rest(request.target, body, headers={"Content-Encoding": encoding})


def odd_requests(rng):
    """Paths, methods and headers."""
    target = "".join(rng.choices(_PIECES, k=rng.randrange(1, 6)))
    method = rng.choice(_METHODS)
    headers = {name: rng.choice(_HEADERS[name]) for name in rng.sample(list(_HEADERS), rng.randrange(3))}
    if rng.random() < 0.1:
        target = "/v1/models/" + "".join(f"%{byte:02X}" for byte in rng.choice(NAMES).encode())
    return Rest("/" + target.lstrip("/"), _right_request(rng).body if rng.random() < 0.5 else b"", method, headers)


def images_over_rest(rng):
    values = [{"b64": base64.b64encode(image).decode()} for image in some_images(rng)]
    if rng.random() < 0.5:
        examples = [{"image/encoded": value} for value in values]
        return request_of("image:classify", {"signature_name": "classify", "examples": examples})
    instances = rng.choice((values, [{"image_bytes": value} for value in values]))
    return request_of("image:predict", {"signature_name": "predict_bytes", "instances": instances})


def right_requests(rng):
    """Amid all the others, an honest client still gets its right answer."""
    x = rng.randrange(1000)
    return request_of("half:predict", {"instances": [x, 1]}, answer={"predictions": [x / 2 + 2, 2.5]})


# 128 MiB of zeros in 130 kB.
BOMB = Rest("/v1/models/half:predict", gzip.compress(bytes(2**27), mtime=0), headers={"Content-Encoding": "gzip"})
KINDS = (damaged_json, odd_documents, odd_examples, packed_bodies, odd_requests, images_over_rest, right_requests)
