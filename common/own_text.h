/* SPDX-License-Identifier: Apache-2.0 */
/*
 * own_text: texts for recipients that come with the programs and that the owner may replace by
 * files of his own in a folder (web.words), and those of them that are mails which ask to
 * confirm: "Subject: …", an empty line, a text with {{confirm_url}}; beside it perhaps a file
 * with html, then the mail has both parts.
 */
#ifndef KAIRAN_OWN_TEXT_H
#define KAIRAN_OWN_TEXT_H

#include "arena.h"
#include "err.h"
#include "slice.h"

#define OWN_TEXT_MAX ((size_t)64 * 1024)
#define OWN_TEXT_PATH_MAX 512

/* FOLDER/NAME-LANGUAGE.txt: 1 and its text in the arena, 0 when there is none (or folder is
 * NULL or empty), -1 with err. path is filled for messages. */
int own_text_read(const char *folder, const char *name, const char *language, struct arena *arena,
    struct slice *text, char path[OWN_TEXT_PATH_MAX], struct err *err) MUST_CHECK;

/* A whole file of at most OWN_TEXT_MAX bytes into the arena. 0, or -1 with err. */
int own_text_file(
    const char *path, struct arena *arena, struct slice *text, struct err *err) MUST_CHECK;

struct confirm_mail {
	const char *subject, *body, *html; /* templates, in the arena; html may be "" */
};

/* 0, or -1 with err. */
int confirm_mail_parse(
    struct confirm_mail *mail, struct slice text, struct arena *arena, struct err *err) MUST_CHECK;

/* Gives a parsed mail its html: a template with {{confirm_url}}. 0, or -1 with err. */
int confirm_mail_html(
    struct confirm_mail *mail, struct slice html, struct arena *arena, struct err *err) MUST_CHECK;

/* The mail NAME ("address", "invite") of the folder, else ours; LANGUAGE en or ja. Its html is the
 * file NAME-LANGUAGE.html of the folder, if there is one. -1 with err. */
int confirm_mail_load(struct confirm_mail *mail, const char *name, const char *language,
    const char *folder, struct arena *arena, struct err *err) MUST_CHECK;

#endif
