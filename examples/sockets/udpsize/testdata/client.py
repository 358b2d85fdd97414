import socket
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 1060
message = sys.stdin.buffer.read()
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(2)
sock.connect(("127.0.0.1", port))
sock.send(message)
answer = sock.recv(64)
print(f"sent {len(message)} bytes, the server received {int(answer)}")
