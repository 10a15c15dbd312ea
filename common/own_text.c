/* SPDX-License-Identifier: Apache-2.0 */
/* own_text: see own_text.h. Reads regular files of at most OWN_TEXT_MAX bytes. */
#include "own_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "embed.h"
#include "template.h"

/* 1, 0 when there is no such file, -1 with err. */
static int
read_file(const char *path, struct arena *arena, struct slice *text, struct err *err)
{
	char *bytes;
	struct stat st;
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return err_set(err, "cannot open %s: %s", path, strerror(errno));
	bytes = arena_alloc(arena, OWN_TEXT_MAX);
	if (bytes != NULL && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		n = read(fd, bytes, OWN_TEXT_MAX);
	(void)close(fd);
	if (n < 0 || (size_t)n == OWN_TEXT_MAX)
		return err_set(err, "cannot read %s: it is not a file, or larger than 64 kB", path);
	*text = slice_make(bytes, (size_t)n);
	return 1;
}

int
own_text_file(const char *path, struct arena *arena, struct slice *text, struct err *err)
{
	int found = read_file(path, arena, text, err);

	return found > 0 ? 0
	    : found < 0	 ? -1
			 : err_set(err, "cannot open %s: %s", path, strerror(ENOENT));
}

static int
read_beside(const char *folder, const char *name, const char *language, const char *ending,
    struct arena *arena, struct slice *text, char path[OWN_TEXT_PATH_MAX], struct err *err)
{
	if (folder == NULL || folder[0] == '\0')
		return 0;
	if (snprintf(path, OWN_TEXT_PATH_MAX, "%s/%s-%s.%s", folder, name, language, ending) >=
	    OWN_TEXT_PATH_MAX)
		return err_set(err, "web.words is too long");
	return read_file(path, arena, text, err);
}

int
own_text_read(const char *folder, const char *name, const char *language, struct arena *arena,
    struct slice *text, char path[OWN_TEXT_PATH_MAX], struct err *err)
{
	return read_beside(folder, name, language, "txt", arena, text, path, err);
}

static const char confirm_link[] = "{{confirm_url}}";

/* A run with a template that does not compile would stop: better now. */
static int
check_template(
    struct slice source, enum template_context context, struct arena *arena, struct err *err)
{
	struct template_fields fields;
	struct template t;

	if (!template_fields_init(&fields, NULL, 0, arena))
		return err_set(err, "no memory");
	return template_compile(&t, source, context, &fields, err);
}

int
confirm_mail_html(
    struct confirm_mail *mail, struct slice html, struct arena *arena, struct err *err)
{
	if (html.len == 0 ||
	    memmem(html.ptr, html.len, confirm_link, sizeof(confirm_link) - 1) == NULL)
		return err_set(err, "%s is missing in the html", confirm_link);
	if (check_template(html, TEMPLATE_HTML, arena, err) != 0)
		return -1;
	mail->html = arena_copy(arena, html).ptr;
	return mail->html != NULL ? 0 : err_set(err, "no memory");
}

int
confirm_mail_parse(
    struct confirm_mail *mail, struct slice text, struct arena *arena, struct err *err)
{
	const char *end = text.len > 0 ? memchr(text.ptr, '\n', text.len) : NULL;
	struct slice line = slice_make(text.ptr, end != NULL ? (size_t)(end - text.ptr) : text.len);

	text = slice_make(text.ptr + line.len, text.len - line.len);
	if (!slice_starts_nocase(line, SLICE("Subject:")))
		return err_set(err, "the first line must be like: Subject: Please confirm");
	line = slice_trim(slice_make(line.ptr + 8, line.len - 8));
	text = slice_trim(text);
	if (line.len == 0 || text.len == 0)
		return err_set(err, "the subject or the text is empty");
	if (memmem(text.ptr, text.len, confirm_link, sizeof(confirm_link) - 1) == NULL)
		return err_set(err, "%s is missing in the text", confirm_link);
	if (check_template(text, TEMPLATE_TEXT, arena, err) != 0)
		return -1;
	mail->html = "";
	mail->subject = arena_copy(arena, line).ptr;
	mail->body = arena_copy(arena, text).ptr;
	return mail->subject != NULL && mail->body != NULL ? 0 : err_set(err, "no memory");
}

int
confirm_mail_load(struct confirm_mail *mail, const char *name, const char *language,
    const char *folder, struct arena *arena, struct err *err)
{
	static const struct {
		const char *name, *language, *text;
	} ours[] = {
		{ "address", "en", embed_feedback_data_address_en_txt },
		{ "address", "ja", embed_feedback_data_address_ja_txt },
		{ "invite", "en", embed_feedback_data_invite_en_txt },
		{ "invite", "ja", embed_feedback_data_invite_ja_txt },
	};
	struct slice text = { NULL, 0 };
	struct err why = { 0 };
	char path[OWN_TEXT_PATH_MAX] = "";
	int own = own_text_read(folder, name, language, arena, &text, path, err);

	if (own < 0)
		return -1;
	for (size_t i = 0; own == 0 && i < sizeof(ours) / sizeof(ours[0]); i++)
		if (strcmp(ours[i].name, name) == 0 && strcmp(ours[i].language, language) == 0)
			text = slice_str(ours[i].text);
	if (confirm_mail_parse(mail, text, arena, &why) < 0)
		return err_set(err, "%.190s: %.190s", path[0] != '\0' ? path : name, why.msg);
	own = read_beside(folder, name, language, "html", arena, &text, path, err);
	if (own > 0 && confirm_mail_html(mail, text, arena, &why) < 0)
		return err_set(err, "%.190s: %.190s", path, why.msg);
	return own < 0 ? -1 : 0;
}
