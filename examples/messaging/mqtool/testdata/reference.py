# What mqtool does, done with libzmq: the judge in mqtool's tests. It runs under
# Debian's python3 with the package python3-zmq.
import base64, hashlib, json, os, sys, time
import zmq

TYPE = sys.argv[1]
REPEATED = {"bind", "connect", "subscribe"}
SWITCHES = {"mandatory", "manual"}
flags = {name: [] for name in REPEATED}
endpoints = []  # in the order of the command line
args = sys.argv[2:]
while args:
    name, equals, value = args.pop(0).lstrip("-").partition("=")
    if name in SWITCHES:
        flags[name] = True
        continue
    if not equals:
        value = args.pop(0)
    if name in REPEATED:
        flags[name].append(value)
        endpoints.append((name, value))
    else:
        flags[name] = value

manual = flags.get("manual", False)
ctx = zmq.Context()
sock = ctx.socket(getattr(zmq, TYPE.upper()))


def number(name, option, default=None):
    value = flags.get(name, default)
    if value is not None:
        sock.setsockopt(option, int(value))


number("sndhwm", zmq.SNDHWM)
number("rcvhwm", zmq.RCVHWM)
number("sndtimeo", zmq.SNDTIMEO)
number("linger", zmq.LINGER, 1000)
number("reconnect", zmq.RECONNECT_IVL, 100)
number("handshake", zmq.HANDSHAKE_IVL)
number("heartbeat", zmq.HEARTBEAT_IVL)
number("heartbeat-timeout", zmq.HEARTBEAT_TIMEOUT)
number("maxmsg", zmq.MAXMSGSIZE)
if "identity" in flags:
    sock.setsockopt(zmq.IDENTITY, flags["identity"].encode())
if flags.get("mandatory"):
    sock.setsockopt(zmq.ROUTER_MANDATORY, 1)

if "plain-server" in flags or "curve-server" in flags:
    from zmq.auth.thread import ThreadAuthenticator

    judge = ThreadAuthenticator(ctx)
    judge.start()
    if "plain-server" in flags:
        user, _, password = flags["plain-server"].partition(":")
        judge.configure_plain(domain="*", passwords={user: password})
        sock.plain_server = True
    else:
        judge.configure_curve(domain="*", location=zmq.auth.CURVE_ALLOW_ANY)
        sock.curve_secretkey = flags["curve-server"].encode()
        sock.curve_publickey = zmq.curve_public(flags["curve-server"].encode())
        sock.curve_server = True
if "plain-client" in flags:
    user, _, password = flags["plain-client"].partition(":")
    sock.plain_username, sock.plain_password = user.encode(), password.encode()
if "curve-client" in flags:
    sock.curve_serverkey, sock.curve_publickey, sock.curve_secretkey = flags["curve-client"].encode().split(b",")

for topic in flags["subscribe"]:
    sock.setsockopt(zmq.SUBSCRIBE, topic.encode())
bound = []
for kind, endpoint in endpoints:
    if kind == "connect":
        sock.connect(endpoint)
    elif kind == "bind":
        sock.bind(endpoint)
        if "*" in endpoint:
            bound.append(sock.getsockopt(zmq.LAST_ENDPOINT).rstrip(b"\0").decode())


def say(value):
    os.write(1, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


def shown(frame):
    if len(frame) > 1024:
        return {"len": len(frame), "sha256": hashlib.sha256(frame).hexdigest()}
    try:
        return frame.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(frame).decode()}


def read(frame):
    if isinstance(frame, str):
        return frame.encode()
    if "b64" in frame:
        return base64.b64decode(frame["b64"])
    return b"x" * frame["fill"]


KINDS = {zmq.EAGAIN: "timeout", zmq.EFSM: "state", zmq.EHOSTUNREACH: "unroutable"}


def attempt(action):
    try:
        action()
        return True
    except zmq.ZMQError as e:
        say({"error": KINDS.get(e.errno, "other"), "detail": str(e)})
        return False


def receive():
    frames = sock.recv_multipart()
    say([shown(f) for f in frames])
    if TYPE == "rep" and not manual:
        sock.send_multipart(frames)


def send(frames):
    sock.send_multipart(frames)
    if TYPE == "req" and not manual:
        receive()


def flood(op):
    sent, body = 0, b"x" * op["size"]
    try:
        while sent < op["n"]:
            sock.send(body)
            sent += 1
    except zmq.ZMQError:
        pass
    say({"event": "flood", "sent": sent})


def receive_within(timeout):
    sock.setsockopt(zmq.RCVTIMEO, int(timeout))
    receive()


def obey(line):
    value = json.loads(line)
    if isinstance(value, list):
        attempt(lambda: send([read(f) for f in value]))
    elif value["op"] == "recv":
        attempt(lambda: receive_within(value.get("timeout", -1)))
    elif value["op"] == "subscribe":
        attempt(lambda: sock.setsockopt(zmq.SUBSCRIBE, value["topic"].encode()))
    elif value["op"] == "unsubscribe":
        attempt(lambda: sock.setsockopt(zmq.UNSUBSCRIBE, value["topic"].encode()))
    elif value["op"] == "flood":
        flood(value)
    elif value["op"] == "stats":
        say({"event": "stats", "goroutines": 0})


say({"event": "ready", "bound": bound} if bound else {"event": "ready"})
poller = zmq.Poller()
poller.register(0, zmq.POLLIN)
if not manual and TYPE not in ("req", "pub", "push"):
    poller.register(sock, zmq.POLLIN)
pending = b""
while True:
    events = dict(poller.poll())
    if sock in events:
        attempt(receive)
    if 0 in events:
        data = os.read(0, 1 << 20)
        if not data:
            break
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            if line.strip():
                obey(line)
if "plain-server" in flags or "curve-server" in flags:
    judge.stop()
sock.close()
ctx.term()
