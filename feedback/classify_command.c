/* SPDX-License-Identifier: Apache-2.0 */
/* classify_command: see classify_command.h. Owns one arena, used again for each file. */
#include "classify_command.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "exit.h"
#include "inbound.h"
#include "log.h"
#include "notice_ses.h"

static const char help[] =
    "Usage: kairan-feedback classify FILE...\n"
    "\n"
    "Says what a mail or a notice of Amazon SES is: one line of JSON for each FILE, '-' for\n"
    "standard input. FILE is a whole mail, the body of one, or JSON of SES, bare or as SNS wraps\n"
    "it. Nothing is changed; neither configuration nor database is needed.\n"
    "\n"
    "  {\"file\":\"bounce.eml\",\"kind\":\"bounce\",\"feedback_type\":null,\"recipients\":[\n"
    "   {\"address\":\"a@b.example\",\"status\":\"5.1.1\",\"smtp\":\"550\",\"class\":\"hard\",\n"
    "    \"reason\":\"user_unknown\",\"text\":\"550 5.1.1 User unknown\"}]}\n"
    "\n"
    "  kind   bounce, delayed, delivered, complaint, auto_reply, other\n"
    "  class  hard, soft, block, message, config; empty where nothing failed\n"
    "\n"
    "Example:\n"
    "  kairan-feedback classify bounces/*.eml | jq -r '.recipients[].reason' | sort | uniq -c\n"
    "\n"
    "Exit: 0 done, 1 a file could not be read (its line says other), 2 usage.\n"
    "See kairan-feedback(8).\n";

static int
read_file(const char *path, struct buf *bytes, struct err *err)
{
	int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	char chunk[16 * 1024];
	ssize_t n = -1;

	while (fd >= 0 && bytes->len < INBOUND_SIZE_MAX) {
		n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		buf_append(bytes, chunk, (size_t)n);
	}
	if (n < 0)
		(void)err_set(err, "%s: %s", path, strerror(errno));
	if (fd > STDIN_FILENO)
		(void)close(fd);
	if (buf_failed(bytes))
		return err_set(err, "%s: no memory", path);
	return n < 0 ? -1 : 0;
}

static json_t *
text_json(struct slice s)
{
	return json_stringn_nocheck(s.len > 0 ? s.ptr : "", s.len);
}

static json_t *
recipient_json(const struct notice_recipient *r)
{
	struct outcome o = { .code = r->code };
	char status[16], code[16] = "";

	memcpy(o.enhanced, r->enhanced, sizeof(o.enhanced));
	if (r->code != 0)
		(void)snprintf(code, sizeof(code), "%d", r->code);
	return json_pack("{s:o, s:s, s:s, s:s, s:s, s:o}", "address", text_json(r->address),
	    "status", outcome_enhanced_str(&o, status), "smtp", code, "class",
	    outcome_class_name(r->cls), "reason", r->reason, "text", text_json(r->text));
}

static void
print_line(const char *path, const struct notice *notice, struct arena *arena)
{
	struct slice file = feedback_text(arena, slice_str(path), 4096);
	json_t *list = json_array(), *line;

	for (size_t i = 0; i < notice->count; i++)
		(void)json_array_append_new(list, recipient_json(&notice->recipients[i]));
	line = json_pack("{s:o, s:s, s:o, s:o}", "file", text_json(file), "kind",
	    notice_kind_name(notice->kind), "feedback_type",
	    notice->feedback_type.len > 0
		? text_json(feedback_text(arena, notice->feedback_type, 64))
		: json_null(),
	    "recipients", list);
	if (line == NULL || json_dumpf(line, stdout, JSON_COMPACT) < 0)
		fatal(EXIT_TEMPORARY, "no memory");
	(void)putchar('\n');
	json_decref(line);
}

static int
classify_file(const char *path, struct buf *bytes, struct arena *arena)
{
	struct notice notice = { .reason = "unrecognised" };
	struct err err = { 0 };
	int status = EXIT_DONE;

	if (read_file(path, bytes, &err) < 0 ||
	    notice_classify(&notice, buf_slice(bytes), arena) < 0) {
		log_error("%s", err.msg[0] != '\0' ? err.msg : "no memory");
		notice = (struct notice){ .reason = "unrecognised" };
		status = EXIT_FAILED;
	}
	print_line(path, &notice, arena);
	return status;
}

int
classify_command(int argc, char **argv)
{
	static const struct option longs[] = { { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 } };
	struct arena arena;
	struct buf bytes;
	int option, status = EXIT_DONE;

	optind = 1;
	while ((option = getopt_long(argc, argv, "+h", longs, NULL)) != -1) {
		if (option != 'h')
			fatal(EXIT_USAGE, "see kairan-feedback classify --help");
		(void)fputs(help, stdout);
		return EXIT_DONE;
	}
	if (optind == argc)
		fatal(EXIT_USAGE, "classify needs a FILE, or '-' for standard input");
	arena_init(&arena, INBOUND_ARENA_MAX);
	buf_init(&bytes, INBOUND_SIZE_MAX + 64 * 1024);
	for (int i = optind; i < argc; i++) {
		if (classify_file(argv[i], &bytes, &arena) != EXIT_DONE)
			status = EXIT_FAILED;
		arena_reset(&arena);
		buf_reset(&bytes);
	}
	buf_release(&bytes);
	arena_release(&arena);
	if (fflush(stdout) != 0)
		fatal(EXIT_FAILED, "cannot write: %s", strerror(errno));
	return status;
}
