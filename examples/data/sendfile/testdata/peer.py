# The two ends of the file transfer in Python, to try the Go program's other end.
#   peer.py send PORT FILE [keep]      sends FILE, prints the answer; keep: does not close its direction
#   peer.py receive FILE [ANSWER]      prints its port, stores one file, answers Gracias or ANSWER
import socket, struct, sys

LOCAL = "127.0.0.1"


def send(port, name, keep):
    with open(name, "rb") as file:
        data = file.read()
    with socket.create_connection((LOCAL, port), timeout=20) as sock:
        sock.sendall(struct.pack("!I", len(data)))
        for start in range(0, len(data), 4096):
            sock.sendall(data[start : start + 4096])
        if not keep:
            sock.shutdown(socket.SHUT_WR)
        answer = b""
        while more := sock.recv(1024):
            answer += more
    print(answer.decode())


def exactly(sock, count):
    data = b""
    while len(data) < count:
        more = sock.recv(min(4096, count - len(data)))
        if not more:  # without this the loop would never end
            raise EOFError(f"{len(data)} of {count} bytes")
        data += more
    return data


def receive(name, answer):
    with socket.create_server((LOCAL, 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        listener.settimeout(20)
        sock, _ = listener.accept()
    with sock:
        (length,) = struct.unpack("!I", exactly(sock, 4))
        data = exactly(sock, length)
        with open(name, "wb") as file:
            file.write(data)
        sock.sendall(answer.encode())


if sys.argv[1] == "send":
    send(int(sys.argv[2]), sys.argv[3], "keep" in sys.argv[4:])
else:
    receive(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "Gracias")
