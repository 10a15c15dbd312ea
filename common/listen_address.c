/* SPDX-License-Identifier: Apache-2.0 */
/* listen_address: see listen_address.h. */
#include "listen_address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

int
listen_address_parse(
    const char *text, const char *key, struct sockaddr_storage *address, struct err *err)
{
	char host[64];
	const char *colon = strrchr(text, ':');
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
		.ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	size_t n = colon != NULL ? (size_t)(colon - text) : 0;

	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	}
	*address = (struct sockaddr_storage){ 0 };
	if (colon == NULL || n == 0 || n >= sizeof(host))
		return err_set(err, "%s must be like 127.0.0.1:8080", key);
	memcpy(host, text, n);
	host[n] = '\0';
	if (colon[1] == '\0' || getaddrinfo(host, colon + 1, &hints, &found) != 0)
		return err_set(
		    err, "%s must be a numeric address and a port, like 127.0.0.1:8080", key);
	memcpy(address, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return 0;
}

bool
listen_address_is_loopback(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(
		    &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
	return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
}
