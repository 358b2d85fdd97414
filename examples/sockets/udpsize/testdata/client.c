#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static char message[65536];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

int main(int argc, char **argv)
{
    struct sockaddr_in server = { .sin_family = AF_INET };
    struct timeval patience = { .tv_sec = 2 };
    char answer[24];
    size_t length = fread(message, 1, sizeof message, stdin);
    int sock = socket(AF_INET, SOCK_DGRAM, 0);
    if (sock < 0)
        fail("socket");
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.sin_port = htons(argc > 1 ? (uint16_t)atoi(argv[1]) : 1060);
    if (connect(sock, (struct sockaddr *)&server, sizeof server) < 0)
        fail("connect");
    if (setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0)
        fail("setsockopt");
    if (send(sock, message, length, 0) < 0)
        fail("send");
    ssize_t n = recv(sock, answer, sizeof answer - 1, 0);
    if (n < 0)
        fail("recv");
    answer[n] = '\0';
    printf("sent %zu bytes, the server received %ld\n", length, strtol(answer, NULL, 10));
    return 0;
}
