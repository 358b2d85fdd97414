# Echo in Python, to try the Go program's other end.
#   peer.py server tcp|udp            prints its port; echoes until standard input ends
#   peer.py client tcp|udp PORT N     N clients at a time; each prints what it got back
import socket, sys, threading

LOCAL = "127.0.0.1"


def echo_stream(sock):
    with sock:
        while data := sock.recv(4096):
            sock.sendall(data)


def accept(listener):
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=echo_stream, args=(sock,), daemon=True).start()


def echo_datagrams(sock):
    while True:
        data, peer = sock.recvfrom(65535)
        sock.sendto(data, peer)


def serve(kind):
    if kind == "tcp":
        sock, work = socket.create_server((LOCAL, 0)), accept
    else:
        sock, work = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), echo_datagrams
        sock.bind((LOCAL, 0))
    print(sock.getsockname()[1], flush=True)
    threading.Thread(target=work, args=(sock,), daemon=True).start()
    sys.stdin.read()


def ask(kind, port, number, together, lines):
    text = f"¡hola número {number}!".encode()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.connect((LOCAL, port))
        together.wait()  # nobody sends before all are connected
        sock.send(text)
        got = b""
        if kind == "tcp":
            sock.shutdown(socket.SHUT_WR)
            while data := sock.recv(4096):
                got += data
        else:
            got = sock.recv(65535)
        lines[number] = got.decode()


def clients(kind, port, count):
    together, lines = threading.Barrier(count, timeout=20), [None] * count
    crowd = [threading.Thread(target=ask, args=(kind, port, i, together, lines)) for i in range(count)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    for line in lines:
        print(line)


sys.stdout.reconfigure(encoding="utf-8", newline="\n")
if sys.argv[1] == "server":
    serve(sys.argv[2])
else:
    clients(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
