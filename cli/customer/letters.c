/* SPDX-License-Identifier: Apache-2.0 */
/* letters: see letters.h. */
#include "letters.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"

#define LETTER_MAX ((size_t)64 << 20)
#define CHUNK ((size_t)64 << 10)

/* What may stand in an address in front of what was found. */
static bool
is_of_local_part(char c)
{
	return c != '\0' &&
	    (isalnum((unsigned char)c) || strchr("!#$%&'*+/=?^_`{|}~.-", c) != NULL);
}

static bool
names(struct slice text, struct slice address)
{
	const char *end = text.ptr + text.len;

	for (const char *p = text.ptr; (size_t)(end - p) >= address.len; p++) {
		const char *next = p + address.len;

		if (strncasecmp(p, address.ptr, address.len) != 0 ||
		    (p > text.ptr && is_of_local_part(p[-1])))
			continue;
		if (next == end ||
		    (!isalnum((unsigned char)*next) && *next != '-' &&
			(*next != '.' || next + 1 == end || !isalnum((unsigned char)next[1]))))
			return true;
	}
	return false;
}

static bool
read_letter(int folder, const char *name, struct buf *text)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = 1;

	buf_reset(text);
	while (fd >= 0 && n > 0 && text->len < LETTER_MAX - CHUNK) {
		if (!buf_reserve(text, CHUNK)) {
			errno = ENOMEM;
			n = -1;
			break;
		}
		n = read(fd, text->data + text->len, CHUNK);
		if (n > 0)
			buf_commit(text, (size_t)n);
	}
	if (fd < 0)
		return false;
	(void)close(fd);
	return n >= 0;
}

/* Of one folder; -1 with errno. */
static long
erase_in(const char *path, struct slice address, struct buf *text)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	struct stat st;
	long count = 0;
	bool good = dir != NULL;

	while (good && (entry = readdir(dir)) != NULL) {
		int folder = dirfd(dir);

		if (fstatat(folder, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		good = read_letter(folder, entry->d_name, text);
		if (!good && errno == ENOENT) { /* forwarded and moved meanwhile */
			good = true;
		} else if (good && names(buf_slice(text), address)) {
			good = unlinkat(folder, entry->d_name, 0) == 0;
			count++;
		}
	}
	if (dir != NULL)
		(void)closedir(dir);
	return good ? count : -1;
}

long
letters_erase(const char *maildir, struct slice address, struct err *err)
{
	static const char *const folders[] = { "new", "cur" };
	char path[PATH_MAX];
	struct buf text;
	long count = 0;

	buf_init(&text, LETTER_MAX);
	for (size_t i = 0; count >= 0 && i < sizeof(folders) / sizeof(folders[0]); i++) {
		long n = -1;

		if (snprintf(path, sizeof(path), "%s/%s", maildir, folders[i]) < (int)sizeof(path))
			n = erase_in(path, address, &text);
		count = n < 0 ? -1 : count + n;
	}
	buf_release(&text);
	return count >= 0
	    ? count
	    : err_set(err, "reply.maildir: cannot search %.300s: %s", maildir, strerror(errno));
}
