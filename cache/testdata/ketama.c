/* Where libmemcached puts keys with KETAMA_WEIGHTED.

   Input: "SERVERS KEYS", then so many lines "HOST PORT WEIGHT" (port 0: HOST is
   the path of a Unix socket), then so many keys; repeated. Output: the number
   of the server of each key, a line each. */
#include <stdio.h>
#include <string.h>
#include <libmemcached/memcached.h>

int main(void) {
	int servers, keys, port, weight;
	char word[256];
	while (scanf("%d %d", &servers, &keys) == 2) {
		memcached_st *m = memcached_create(NULL);
		memcached_behavior_set(m, MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1);
		for (int i = 0; i < servers; i++) {
			if (scanf("%255s %d %d", word, &port, &weight) != 3)
				return 1;
			if (port)
				memcached_server_add_with_weight(m, word, port, weight);
			else
				memcached_server_add_unix_socket_with_weight(m, word, weight);
		}
		for (int i = 0; i < keys; i++) {
			if (scanf("%255s", word) != 1)
				return 1;
			printf("%u\n", memcached_generate_hash(m, word, strlen(word)));
		}
		memcached_free(m);
	}
	return 0;
}
