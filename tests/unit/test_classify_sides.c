/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose address a refusal is about: replies that say the recipient is gone, and those that use the
 * same words of the sender, of our host or of the message. Own sentences in the manner of hosts in
 * many countries, each as Postfix quotes it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "inbound.h"
#include "notice_ses.h"

static enum outcome_class
judge(const char *reply, struct arena *arena)
{
	static const char front[] =
	    "Return-Path: <>\nFrom: MAILER-DAEMON@mx.our.test (Mail Delivery System)\n"
	    "To: news@our.test\nSubject: Undelivered Mail Returned to Sender\n"
	    "Content-Type: text/plain; charset=utf-8\n\n"
	    "This is the mail system at host mx.our.test.\n\n"
	    "<x@y.test>: host mx.y.test[192.0.2.9] said: ";
	char mail[2000];
	struct notice notice;
	int n =
	    snprintf(mail, sizeof(mail), "%s%s (in reply to RCPT TO\n    command)\n", front, reply);

	assert_int_equal(notice_classify(&notice, slice_make(mail, (size_t)n), arena), 0);
	assert_int_equal(notice.kind, NOTICE_BOUNCE);
	assert_int_equal(notice.count, 1);
	return notice.recipients[0].cls;
}

static void
check(const char *const *replies, size_t count, bool is_hard)
{
	size_t bad = 0;

	for (size_t i = 0; i < count; i++) {
		struct arena arena;
		enum outcome_class cls;

		arena_init(&arena, INBOUND_ARENA_MAX);
		cls = judge(replies[i], &arena);
		arena_release(&arena);
		if ((cls == OUTCOME_HARD) == is_hard)
			continue;
		print_message("# %s: %s\n", outcome_class_name(cls), replies[i]);
		bad++;
	}
	assert_int_equal(bad, 0);
}

static void
test_recipient_gone(void **state)
{
	static const char *const replies[] = {
		"550 5.1.1 <x@y.test>: Email address could not be found, or was misspelled (G8)",
		"550 5.1.1 Mailbox does not exist!",
		"550 No such recipient here",
		"550 #5.1.0 Address rejected.",
		"550 5.1.1 RCPT TO:<x@y.test> User does not exist",
		"550 <x@y.test>, Recipient unknown",
		"550 5.7.1 Recipient not found in directory",
		"554 5.1.1 Mailbox not found.",
		"550 Invalid Recipient - https://community.mimecast.test/docs/DOC-1369#550",
		"550 mailbox for x@y.test does not exist",
		"550 5.0.1 Recipient rejected: unknown user",
		"551 User not local; please try <z@y.test>",
		"550 5.1.1 Account not available",
		"550-Callout verification failed: 550 550 5.1.1 User unknown",
		"550 5.2.1 The email account that you tried to reach is disabled.",
		"550 This account is not allowed to receive mail: it has been terminated",
		"550 5.1.1 unknown or invalid recipient",
		"554 delivery error: dd This user doesn't have a yahoo.test account",
		"550 5.1.1 The user does not exist in virtual mailbox table",
		"553 5.3.0 <x@y.test>... Addressee unknown, relay=[192.0.2.1]",
		"553 sorry, that recipient is not in my validrcptto list (#5.7.1)",
		"511 sorry, no mailbox here by that name (#5.1.1 - chkuser)",
		"550 5.4.310 DNS domain y.test does not exist [Message=InfoDomainNonexistent]",
		"550 5.1.2 Host unknown (Name server: y.test: host not found)",
		"550 5.1.10 Recipient address has null MX",
		"550 x@y.test is not a valid mailbox",
		"550 Address unknown",
		"550 5.1.1 No such person at this address",
		"550 5.1.1 Recipient address rejected: User has moved on",
		"550 Sorry, the user x is no longer with us",
		"550 5.2.1 This mailbox has been blocked due to inactivity",
		"550 5.2.1 Mailbox unavailable. Your message to <x@y.test> was rejected because "
		"the "
		"account is closed",
		"554 rejected due to recipient not existing on the server",
		"550 Recipient does not exist on this system",
		"550 user not known",
		"550 unknown user account",
		"550 That user does not have an account here",
		"550 5.1.1 Not our Customer",
		"550 5.1.1 User email address is marked as invalid.",
		"550 Mailbox is inactive",
		"550 5.1.1 Benutzer existiert nicht",
		"550 Dieses Postfach existiert nicht mehr",
		"550 5.1.1 Utilisateur inconnu ou compte supprimé",
		"550 L'adresse mail x@y.test n'existe pas",
		"550 La casilla de correo no existe",
		"550 El usuario no existe en este servidor",
		"550 Caixa postal desconhecida",
		"550 Casella postale inesistente",
		"550 Użytkownik nie istnieje",
		"550 Uživatel neexistuje",
		"550 Пользователь не найден",
		"550 Mailbox does not exist / Почтовый ящик не существует",
		"550 メールアドレスが見つかりません",
		"550 該当するユーザーはいません",
		"550 用户不存在",
		"550 收件人不存在",
		"550 존재하지 않는 메일 주소입니다",
		"550 Kullanıcı bulunamadı",
		"550 Használó nem létezik",
		"550 Käyttäjää ei ole",
	};

	(void)state;
	check(replies, sizeof(replies) / sizeof(replies[0]), true);
}

static void
test_not_the_recipient(void **state)
{
	static const char *const replies[] = {
		"550 5.7.1 Your message was rejected because of the content",
		"550 High probability of spam",
		"550 5.7.606 Access denied, banned sending IP [192.0.2.1]",
		"554 Message refused by the recipient's spam filter: unknown sender",
		"550 5.7.1 Sender unknown",
		"550 Sender verify failed: no such user at your domain",
		"553 5.1.8 <news@our.test>... Domain of sender address news@our.test does not "
		"exist",
		"550 5.1.8 Sender address rejected: Domain not found",
		"450 4.1.8 <news@our.test>: Sender address rejected: Domain not found",
		"550 Verification failed for <news@our.test>: invalid user",
		"554 5.7.1 <mx.our.test[192.0.2.1]>: Client host rejected: cannot find your "
		"hostname, [192.0.2.1]",
		"550 Unable to find a PTR record for your IP",
		"450 4.7.25 Client host rejected: cannot find your hostname",
		"550 5.2.2 User is over quota",
		"552 5.2.2 This message is larger than the current system limit or the recipient's "
		"mailbox is full. Create a shorter message body or remove attachments and try "
		"sending it again.",
		"550 mailbox is full; it does not accept further mail, user x",
		"554 5.2.2 mailbox full; user account disabled for sending only",
		"452 4.2.2 The email account that you tried to reach is over quota.",
		"550 5.7.1 TLS required by recipient policy",
		"550 5.7.1 Message rejected due to unacceptable attachment",
		"550 5.7.1 [CS] Message blocked. Recipient has rejected mails from unknown senders",
		"550 Too many invalid recipients",
		"550 You have sent to unknown users too often: blocked",
		"421 Too many concurrent SMTP connections; please try again later.",
		"550 5.4.5 Daily sending quota exceeded",
		"451 4.3.0 Temporary lookup failure for user x",
		"451 4.4.3 Recipient address rejected: User unknown, temporary verification "
		"failure",
		"450 4.1.1 <x@y.test>: Recipient address rejected: unverified address: connect to "
		"mx[192.0.2.1]:25: Connection refused",
		"550 5.1.1 <x@y.test>: Recipient address rejected: undeliverable address: host "
		"mx[192.0.2.1] said: 452 4.2.2 Over quota",
		"550 5.7.1 Unable to relay for x@y.test",
		"554 5.7.1 <x@y.test>: Relay access denied",
		"550 5.7.1 Command rejected",
		"550 Administrative prohibition - envelope blocked",
		"550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required",
		"550 5.7.124 Sender not in allowed-senders list",
		"550 5.4.6 Routing loop detected",
		"554 5.4.0 Error: too many hops",
		"550 5.3.4 Message too large for this user",
		"550 5.6.0 Message header contains invalid address",
		"550 Header line From: contains an unknown address",
		"550 5.7.1 Rejected: invalid HELO, host not found",
		"550 DNS lookup of the sender's domain failed: no such domain",
		"550 5.7.1 No such sender in our directory",
		"554 IP 192.0.2.1 is blocked: mailbox names were guessed (unknown users)",
		"550 5.7.0 Local policy violation",
		"550 JunkMail rejected - mx.our.test is in an RBL",
		"554 5.7.1 The file x.docx is not allowed",
		"550 Empfänger hat Ihre Adresse gesperrt",
		"550 Absenderadresse existiert nicht",
		"550 Expéditeur inconnu",
		"550 Remitente desconocido",
		"550 El dominio del remitente no existe",
		"550 Remetente inexistente",
		"550 Mittente sconosciuto",
		"550 Nadawca nie istnieje",
		"550 Отправитель не существует",
		"550 差出人のドメインが存在しません",
		"550 发件人不存在",
		"550 보낸 사람 주소가 존재하지 않습니다",
		"550 Gönderen adresi bulunamadı",
		"451 ユーザーが存在しません。一時的なエラー",
		"550 Your mailbox does not exist: sender callback failed",
		"550 5.2.0 Mailbox temporarily disabled for maintenance",
		"550 account temporarily locked",
		"550 5.7.1 Access denied, user's preferences refuse this sender",
	};

	(void)state;
	check(replies, sizeof(replies) / sizeof(replies[0]), false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recipient_gone),
		cmocka_unit_test(test_not_the_recipient),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
