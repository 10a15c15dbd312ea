/* SPDX-License-Identifier: Apache-2.0 */
/* cidr: see cidr.h. */
#include "cidr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF };

/* Digits alone: "/08" and "/ 8" are slips. */
static bool
parse_bits(const char *text, unsigned max, unsigned *bits)
{
	size_t n = strlen(text);

	if (n == 0 || n > 3 || strspn(text, "0123456789") != n || (n > 1 && text[0] == '0'))
		return false;
	*bits = (unsigned)strtoul(text, NULL, 10);
	return *bits <= max;
}

static bool
is_masked(const struct cidr *c)
{
	for (unsigned i = c->bits; i < 128; i++)
		if ((c->bytes[i / 8] & (0x80 >> i % 8)) != 0)
			return false;
	return true;
}

static bool
parse_one(struct cidr *c, char *text)
{
	char *slash = strchr(text, '/');

	if (slash != NULL)
		*slash = '\0';
	if (inet_pton(AF_INET, text, c->bytes + 12) == 1) {
		memcpy(c->bytes, mapped, sizeof(mapped));
		c->bits = 32;
		if (slash != NULL && !parse_bits(slash + 1, 32, &c->bits))
			return false;
		c->bits += 96;
	} else if (inet_pton(AF_INET6, text, c->bytes) == 1) {
		c->bits = 128;
		if (slash != NULL && !parse_bits(slash + 1, 128, &c->bits))
			return false;
	} else {
		return false;
	}
	return is_masked(c);
}

static bool
is_gap(char c)
{
	return c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Takes the next word off the front; empty at the end. */
static struct slice
next_word(struct slice *text)
{
	struct slice word;
	size_t from = 0, to;

	if (text->len == 0)
		return *text;
	while (from < text->len && is_gap(text->ptr[from]))
		from++;
	to = from;
	while (to < text->len && !is_gap(text->ptr[to]))
		to++;
	word = slice_make(text->ptr + from, to - from);
	*text = slice_make(text->ptr + to, text->len - to);
	return word;
}

/* The parsers of addresses end at a NUL, so none may come to them. */
static int
take_word(struct cidr *c, struct slice s, const char *setting, struct err *err)
{
	char word[64];

	if (memchr(s.ptr, '\0', s.len) != NULL)
		return err_set(err, "%s: a NUL byte behind '%.*s'; take it out", setting,
		    (int)(s.len < 63 ? s.len : 63), s.ptr);
	(void)snprintf(word, sizeof(word), "%.*s", (int)(s.len < 63 ? s.len : 63), s.ptr);
	if (s.len < sizeof(word) && parse_one(c, word))
		return 0;
	return err_set(err,
	    "%s: '%.*s' is no network; write e.g. 192.0.2.0/24 or 2001:db8::/32, with no bits set "
	    "behind the prefix",
	    setting, (int)(s.len < 63 ? s.len : 63), s.ptr);
}

int
cidr_list_parse(struct cidr_list *list, struct slice text, const char *setting, struct err *err)
{
	struct slice word;

	*list = (struct cidr_list){ 0 };
	while ((word = next_word(&text)).len > 0) {
		if (list->count == CIDR_MAX)
			return err_set(err, "%s: more than %d networks", setting, CIDR_MAX);
		if (list->items == NULL)
			list->items = calloc(CIDR_MAX, sizeof(*list->items));
		if (list->items == NULL)
			return err_set(err, "no memory");
		if (take_word(&list->items[list->count], word, setting, err) != 0)
			return -1;
		list->count++;
	}
	return 0;
}

void
cidr_list_release(struct cidr_list *list)
{
	free(list->items);
	*list = (struct cidr_list){ 0 };
}

static bool
is_within(const struct cidr *c, const uint8_t address[16])
{
	unsigned whole = c->bits / 8, rest = c->bits % 8;

	if (memcmp(c->bytes, address, whole) != 0)
		return false;
	return rest == 0 || ((c->bytes[whole] ^ address[whole]) & (0xFF << (8 - rest)) & 0xFF) == 0;
}

bool
cidr_list_has(const struct cidr_list *list, const struct sockaddr *address)
{
	const void *any = address;
	uint8_t bytes[16];

	if (address->sa_family == AF_INET6) {
		memcpy(bytes, &((const struct sockaddr_in6 *)any)->sin6_addr, sizeof(bytes));
	} else if (address->sa_family == AF_INET) {
		memcpy(bytes, mapped, sizeof(mapped));
		memcpy(bytes + 12, &((const struct sockaddr_in *)any)->sin_addr, 4);
	} else {
		return false;
	}
	for (size_t i = 0; i < list->count; i++)
		if (is_within(&list->items[i], bytes))
			return true;
	return false;
}
