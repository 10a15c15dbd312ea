/* SPDX-License-Identifier: Apache-2.0 */
/* dkim_store: see dkim_store.h. */
#include "dkim_store.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secret.h"

static int
read_key(const char *dir, const char *domain, const char *file, size_t selector_len,
    struct dkim_key **key, struct err *err)
{
	char path[PATH_MAX], pem[DKIM_PEM_MAX + 1];
	struct err why = { 0 };
	size_t n = 0;
	int result;

	if (snprintf(path, sizeof(path), "%s/%s/%s", dir, domain, file) >= (int)sizeof(path))
		return err_set(err, "dkim.dir: the path is too long");
	if (secret_read("DKIM key", path, pem, sizeof(pem), &n, err) < 0)
		return -1;
	result = dkim_key_parse(key, slice_make(pem, n), slice_str(domain),
	    slice_make(file, selector_len), slice_make(NULL, 0), &why);
	OPENSSL_cleanse(pem, sizeof(pem));
	return result == 0 ? 0 : err_set(err, "DKIM key %.300s: %.80s", path, why.msg);
}

static bool
is_file_name(const char *name)
{
	return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

/* Length of the name without the suffix; 0: another file. */
static size_t
selector_len(const char *file, const char *suffix)
{
	size_t n = strlen(file), s = strlen(suffix);

	return file[0] != '.' && n > s && strcmp(file + n - s, suffix) == 0 ? n - s : 0;
}

static int
add_all(const char *dir, const char *domain, const char *suffix, struct dirent **files, int count,
    struct dkim *dkim, struct err *err)
{
	for (int pass = DKIM_RSA; pass <= DKIM_ED25519; pass++) {
		for (int i = 0; i < count; i++) {
			size_t n = selector_len(files[i]->d_name, suffix);
			struct dkim_key *key;

			if (n == 0)
				continue;
			if (read_key(dir, domain, files[i]->d_name, n, &key, err) < 0)
				return -1;
			if ((int)dkim_key_algorithm(key) != pass)
				dkim_key_free(key);
			else if (dkim_add(dkim, key, err) < 0)
				return -1;
		}
	}
	return 0;
}

int
dkim_store_read(
    const char *dir, const char *domain, const char *suffix, struct dkim *dkim, struct err *err)
{
	char folder[PATH_MAX];
	struct dirent **files = NULL;
	int count, result;

	if (!is_file_name(domain))
		return err_set(err, "'%s' is not a domain", domain);
	if (snprintf(folder, sizeof(folder), "%s/%s", dir, domain) >= (int)sizeof(folder))
		return err_set(err, "dkim.dir: the path is too long");
	count = scandir(folder, &files, NULL, alphasort);
	if (count < 0)
		return errno == ENOENT || errno == ENOTDIR
		    ? 0
		    : err_set(err, "cannot read DKIM keys in %s: %s", folder, strerror(errno));
	result = add_all(dir, domain, suffix, files, count, dkim, err);
	for (int i = 0; i < count; i++)
		free(files[i]);
	free(files);
	return result;
}

/* Keys of the nearest folder, going up to a domain of two labels. */
static int
read_nearest(const char *dir, const char *domain, struct dkim *dkim, struct err *err)
{
	while (strchr(domain, '.') != NULL) {
		if (dkim_store_read(dir, domain, ".pem", dkim, err) < 0)
			return -1;
		if (dkim_count(dkim) > 0)
			return 0;
		domain = strchr(domain, '.') + 1;
	}
	return 0;
}

static int
read_also(const char *dir, const char *also, struct dkim *dkim, struct err *err)
{
	while (*also != '\0') {
		size_t n = strcspn(also, ","), before = dkim_count(dkim);
		struct slice name = slice_trim(slice_make(also, n));
		char domain[256];

		also += n + (also[n] == ',');
		if (name.len == 0)
			continue;
		if (name.len >= sizeof(domain))
			return err_set(err, "dkim.also: '%.*s' is not a domain", SLICE_ARG(name));
		(void)snprintf(domain, sizeof(domain), "%.*s", SLICE_ARG(name));
		if (dkim_store_read(dir, domain, ".pem", dkim, err) < 0)
			return -1;
		if (dkim_count(dkim) == before)
			return err_set(err, "dkim.also: there is no key in %s/%s", dir, domain);
	}
	return 0;
}

int
dkim_store_load(
    const char *dir, const char *from_domain, const char *also, struct dkim **out, struct err *err)
{
	struct dkim *dkim;
	int result;

	*out = NULL;
	if (dir[0] == '\0')
		return 0;
	dkim = dkim_new();
	if (dkim == NULL)
		return err_set(err, "no memory");
	result = read_nearest(dir, from_domain, dkim, err);
	if (result == 0)
		result = read_also(dir, also, dkim, err);
	if (result == 0 && dkim_count(dkim) > 0)
		*out = dkim;
	else
		dkim_free(dkim);
	return result;
}

int
dkim_store_domains(const char *dir, char ***names, size_t *count, struct err *err)
{
	struct dirent **files = NULL;
	int n, result = 0;

	*count = 0;
	*names = NULL;
	n = scandir(dir, &files, NULL, alphasort);
	if (n < 0)
		return errno == ENOENT
		    ? 0
		    : err_set(err, "cannot read dkim.dir %s: %s", dir, strerror(errno));
	*names = calloc((size_t)n + 1, sizeof(char *));
	for (int i = 0; i < n; i++) {
		if (*names != NULL && is_file_name(files[i]->d_name) &&
		    strchr(files[i]->d_name, '.') != NULL && *count < DKIM_STORE_DOMAINS_MAX &&
		    ((*names)[*count] = strdup(files[i]->d_name)) != NULL)
			++*count;
		free(files[i]);
	}
	if (*names == NULL)
		result = err_set(err, "no memory");
	free(files);
	return result;
}

void
dkim_store_free_domains(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}
