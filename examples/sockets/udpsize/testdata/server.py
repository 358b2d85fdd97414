import socket
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 1060
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", port))
print("listening on %s:%d" % sock.getsockname(), flush=True)
while True:
    message, client = sock.recvfrom(65535)
    print(client, repr(message), flush=True)
    sock.sendto(str(len(message)).encode(), client)
