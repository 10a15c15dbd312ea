/* SPDX-License-Identifier: Apache-2.0 */
/* dns: see dns.h. */
#include "dns.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define STRING_MAX 255 /* RFC 1035 3.3 */

void
dns_zone_put_txt(struct buf *out, struct slice name, unsigned ttl_s, struct slice text)
{
	bool several = text.len > STRING_MAX;

	buf_append_slice(out, name);
	buf_printf(out, ". %u IN TXT %s", ttl_s, several ? "(" : "");
	for (size_t at = 0, n; at < text.len; at += n) {
		n = text.len - at < STRING_MAX ? text.len - at : STRING_MAX;
		buf_append_str(out, several ? "\n\t\"" : "\"");
		for (size_t i = at; i < at + n; i++) {
			if (text.ptr[i] == '"' || text.ptr[i] == '\\')
				buf_append_char(out, '\\');
			buf_append_char(out, text.ptr[i]);
		}
		buf_append_char(out, '"');
	}
	buf_append_str(out, several ? " )\n" : "\n");
}

bool
dns_reverse_name(const char *address, char dst[DNS_NAME_MAX + 1])
{
	unsigned char raw[16];
	size_t n = 0;

	if (inet_pton(AF_INET, address, raw) == 1) {
		(void)snprintf(dst, DNS_NAME_MAX + 1, "%u.%u.%u.%u.in-addr.arpa", raw[3], raw[2],
		    raw[1], raw[0]);
		return true;
	}
	if (inet_pton(AF_INET6, address, raw) != 1)
		return false;
	for (int i = 15; i >= 0; i--)
		n += (size_t)snprintf(
		    dst + n, DNS_NAME_MAX + 1 - n, "%x.%x.", raw[i] & 15, raw[i] >> 4);
	(void)snprintf(dst + n, DNS_NAME_MAX + 1 - n, "ip6.arpa");
	return true;
}

bool
dns_tag(struct slice record, struct slice tag, struct slice *value)
{
	while (record.len > 0) {
		const char *end = memchr(record.ptr, ';', record.len);
		size_t n = end != NULL ? (size_t)(end - record.ptr) : record.len;
		const char *equals = memchr(record.ptr, '=', n);

		if (equals != NULL &&
		    slice_equal(
			slice_trim(slice_make(record.ptr, (size_t)(equals - record.ptr))), tag)) {
			*value = slice_trim(
			    slice_make(equals + 1, n - (size_t)(equals + 1 - record.ptr)));
			return true;
		}
		n += end != NULL;
		record = slice_make(record.ptr + n, record.len - n);
	}
	return false;
}
