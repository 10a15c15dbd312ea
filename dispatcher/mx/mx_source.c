/* SPDX-License-Identifier: Apache-2.0 */
/* mx_source: reads mx.source and mx.source_rates (mx_site.h). */
#include <uv.h>

#include "embed.h"
#include "mx_site.h"

static int
read_one(struct mx_source *source, struct slice text, const char *ehlo, struct err *err)
{
	char address[64];
	size_t n = 0;
	struct slice name;

	while (n < text.len && text.ptr[n] != ' ' && text.ptr[n] != '\t')
		n++;
	(void)snprintf(address, sizeof(address), "%.*s", (int)n, text.ptr);
	if (n == 0 || n >= sizeof(address) ||
	    (uv_ip4_addr(address, 0, (struct sockaddr_in *)&source->from) != 0 &&
		uv_ip6_addr(address, 0, (struct sockaddr_in6 *)&source->from) != 0))
		return err_set(err,
		    "mx.source: '%.*s' is no address; expected ADDRESS NAME, ADDRESS NAME",
		    (int)(n < 64 ? n : 64), text.ptr);
	name = slice_trim(slice_make(text.ptr + n, text.len - n));
	if (name.len == 0)
		name = slice_str(ehlo);
	if (name.len > DNS_NAME_MAX)
		return err_set(err, "mx.source: the name of %s is too long", address);
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] <= ' ' || name.ptr[i] >= 0x7f)
			return err_set(err, "mx.source: a name of %s, without blanks", address);
	(void)snprintf(source->ehlo, sizeof(source->ehlo), "%.*s", SLICE_ARG(name));
	return 0;
}

int
mx_read_sources(struct mx_source list[MX_SOURCES_MAX], size_t *count, const char *text,
    const char *ehlo, struct err *err)
{
	struct slice left = slice_trim(slice_str(text));

	*count = 0;
	if (left.len == 0) {
		list[0] = (struct mx_source){ .from = { .ss_family = AF_UNSPEC } };
		(void)snprintf(list[0].ehlo, sizeof(list[0].ehlo), "%s", ehlo);
		*count = 1;
		return 0;
	}
	for (;;) {
		const char *comma = memchr(left.ptr, ',', left.len);
		size_t n = comma != NULL ? (size_t)(comma - left.ptr) : left.len;

		if (*count == MX_SOURCES_MAX)
			return err_set(err, "mx.source: more than %d addresses", MX_SOURCES_MAX);
		list[*count] = (struct mx_source){ 0 };
		if (read_one(&list[*count], slice_trim(slice_make(left.ptr, n)), ehlo, err) < 0)
			return -1;
		(*count)++;
		if (comma == NULL)
			return 0;
		left = slice_make(comma + 1, left.len - n - 1);
	}
}

void
mx_source_address(const struct mx_source *source, char address[SOURCE_LIMITS_ADDRESS])
{
	address[0] = '\0';
	if (source->from.ss_family != AF_UNSPEC)
		(void)uv_ip_name(
		    (const struct sockaddr *)&source->from, address, SOURCE_LIMITS_ADDRESS);
}

int
mx_read_source_rates(struct source_limits *limits, const struct mx_source *list, size_t count,
    const char *text, struct err *err)
{
	if (source_limits_parse(limits, text, slice_str(embed_common_data_warmup_tsv), err) < 0)
		return -1;
	for (size_t i = 0; i < limits->count; i++) {
		char address[SOURCE_LIMITS_ADDRESS];
		size_t k = 0;

		for (; k < count; k++) {
			mx_source_address(&list[k], address);
			if (strcmp(address, limits->list[i].address) == 0)
				break;
		}
		if (k == count)
			return err_set(err,
			    "mx.source_rates: %s is not in mx.source: add it there, or leave it "
			    "out here",
			    limits->list[i].address);
	}
	return 0;
}
