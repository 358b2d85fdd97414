#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static char message[65536];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

int main(int argc, char **argv)
{
    struct sockaddr_in here = { .sin_family = AF_INET }, client;
    socklen_t size = sizeof here;
    int sock = socket(AF_INET, SOCK_DGRAM, 0);
    if (sock < 0)
        fail("socket");
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    here.sin_port = htons(argc > 1 ? (uint16_t)atoi(argv[1]) : 1060);
    if (bind(sock, (struct sockaddr *)&here, sizeof here) < 0)
        fail("bind");
    if (getsockname(sock, (struct sockaddr *)&here, &size) < 0)
        fail("getsockname");
    printf("listening on 127.0.0.1:%d\n", ntohs(here.sin_port));
    fflush(stdout);
    for (;;) {
        char answer[24], host[INET_ADDRSTRLEN];
        size = sizeof client;
        ssize_t n = recvfrom(sock, message, sizeof message, 0, (struct sockaddr *)&client, &size);
        if (n < 0)
            fail("recvfrom");
        inet_ntop(AF_INET, &client.sin_addr, host, sizeof host);
        printf("%s:%d sent ", host, ntohs(client.sin_port));
        for (ssize_t i = 0; i < n; i++) /* what is not plain text must not command the terminal */
            if (message[i] >= ' ' && message[i] <= '~')
                putchar(message[i]);
            else
                printf("\\x%02x", (unsigned char)message[i]);
        printf(" (%zd bytes)\n", n);
        fflush(stdout);
        int digits = snprintf(answer, sizeof answer, "%zd", n);
        if (sendto(sock, answer, (size_t)digits, 0, (struct sockaddr *)&client, size) < 0)
            perror("sendto");
    }
}
