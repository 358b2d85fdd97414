"""One socket of pyzmq, driven by JSON lines on standard input.

The only argument is a JSON object: type, bind, connect (lists of endpoints),
options (names of pyzmq's constants and their values; text stands for bytes),
subscribe (a list), plain (users and passwords to admit), curve (true: admit
any client). The answer is {"ready": [endpoints bound]}. Frames are hexadecimal.

    {"op": "send", "frames": [...]}    answers {} or {"error": "..."}
    {"op": "recv", "timeout": ms}      answers {"frames": [...]} or {"error": "timeout"}
    {"op": "echo", "count": n}         receives and sends back, n times
    {"op": "flood", "count": n, "size": s}
    {"op": "drain", "count": n}        receives n messages, answers {"bytes": total}
    {"op": "call", "name": f, "args": [...]}   a method of the socket
End of input closes the socket.
"""
import json
import queue
import sys
import threading

import zmq


def value(v):
    return v.encode() if isinstance(v, str) else v


def serve(spec):
    context = zmq.Context()
    auth = None
    if "plain" in spec or "curve" in spec:
        from zmq.auth.thread import ThreadAuthenticator
        auth = ThreadAuthenticator(context)
        auth.start()
        if "plain" in spec:
            auth.configure_plain(domain="*", passwords=spec["plain"])
        if "curve" in spec:
            auth.configure_curve(domain="*", location=zmq.auth.CURVE_ALLOW_ANY)
    socket = context.socket(getattr(zmq, spec["type"]))
    socket.linger = 5000
    for name, v in spec.get("options", {}).items():
        socket.setsockopt(getattr(zmq, name), value(v))
    for topic in spec.get("subscribe", []):
        socket.setsockopt(zmq.SUBSCRIBE, bytes.fromhex(topic))
    bound = []
    for endpoint in spec.get("bind", []):
        socket.bind(endpoint)
        bound.append(socket.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode())
    for endpoint in spec.get("connect", []):
        socket.connect(endpoint)
    say({"ready": bound})
    for line in lines(socket):
        try:
            say(operate(socket, json.loads(line)))
        except zmq.Again:
            say({"error": "timeout"})
        except zmq.ZMQError as e:
            say({"error": str(e)})
    socket.close()
    if auth:
        auth.stop()
    context.term()


def lines(socket):
    """The lines of standard input. libzmq takes in new connections only while
    the program calls it, so we do that while we wait."""
    waiting = queue.Queue()

    def read():
        for line in sys.stdin:
            waiting.put(line)
        waiting.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = waiting.get(timeout=0.01)
        except queue.Empty:
            socket.getsockopt(zmq.EVENTS)
            continue
        if line is None:
            return
        yield line


def operate(socket, line):
    op = line["op"]
    if op == "send":
        socket.sndtimeo = line.get("timeout", 10000)
        socket.send_multipart([bytes.fromhex(f) for f in line["frames"]])
    elif op == "recv":
        socket.rcvtimeo = line["timeout"]
        return {"frames": [f.hex() for f in socket.recv_multipart()]}
    elif op == "echo":
        socket.rcvtimeo = 10000
        for _ in range(line["count"]):
            socket.send_multipart(socket.recv_multipart())
    elif op == "flood":
        for _ in range(line["count"]):
            socket.send(b"x" * line["size"])
    elif op == "drain":
        socket.rcvtimeo = 10000
        return {"bytes": sum(len(socket.recv()) for _ in range(line["count"]))}
    elif op == "call":
        getattr(socket, line["name"])(*[value(a) for a in line["args"]])
    return {}


def say(answer):
    print(json.dumps(answer), flush=True)


serve(json.loads(sys.argv[1]))
