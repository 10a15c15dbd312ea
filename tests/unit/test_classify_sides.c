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

struct frame {
	const char *front, *behind;
};

static const struct frame postfix = {
	"Return-Path: <>\nFrom: MAILER-DAEMON@mx.our.test (Mail Delivery System)\n"
	"To: news@our.test\nSubject: Undelivered Mail Returned to Sender\n"
	"Content-Type: text/plain; charset=utf-8\n\n"
	"This is the mail system at host mx.our.test.\n\n"
	"<x@y.test>: host mx.y.test[192.0.2.9] said: ",
	" (in reply to RCPT TO\n    command)\n"
};

/* It gives every bare 550 the status 5.1.1. */
static const struct frame sendmail = {
	"Return-Path: <>\nFrom: Mail Delivery Subsystem <MAILER-DAEMON@mx.our.test>\n"
	"To: news@our.test\nSubject: Returned mail: see transcript for details\n"
	"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
	"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.our.test\n\n"
	"Final-Recipient: RFC822; x@y.test\nAction: failed\nStatus: 5.1.1\n"
	"Diagnostic-Code: SMTP; ",
	"\n\n--b--\n"
};

static enum outcome_class
judge(const struct frame *frame, const char *reply, struct arena *arena)
{
	char mail[2000];
	struct notice notice;
	int n = snprintf(mail, sizeof(mail), "%s%s%s", frame->front, reply, frame->behind);

	assert_int_equal(notice_classify(&notice, slice_make(mail, (size_t)n), arena), 0);
	assert_int_equal(notice.kind, NOTICE_BOUNCE);
	assert_int_equal(notice.count, 1);
	return notice.recipients[0].cls;
}

static void
check(const struct frame *frame, const char *const *replies, size_t count, bool is_hard)
{
	size_t bad = 0;

	for (size_t i = 0; i < count; i++) {
		struct arena arena;
		enum outcome_class cls;

		arena_init(&arena, INBOUND_ARENA_MAX);
		cls = judge(frame, replies[i], &arena);
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
	check(&postfix, replies, sizeof(replies) / sizeof(replies[0]), true);
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
	check(&postfix, replies, sizeof(replies) / sizeof(replies[0]), false);
}

/* Words of a lost address, or its code, beside a cause that passes. */
static void
test_not_now(void **state)
{
	static const char *const replies[] = {
		"550 5.1.1 <x@y.test>: Recipient address rejected: unverified address: connect to "
		"mail.y.test[192.0.2.1]:25: Connection refused",
		"550 Mailbox unavailable or access denied, try again later",
		"550 Requested action not taken: mailbox unavailable or not local, temporarily",
		"550 5.1.1 User lookup failed: LDAP server unreachable, temporary error",
		"550 The account x@y.test is currently suspended, please retry in a few days",
		"521 host is shutting down for user maintenance, come back later",
		"550 mailbox is locked by another process",
		"552 5.1.1 Sorry, x@y.test inbox has no space left",
		"554 5.2.0 delivery was deferred too many times; mailbox not available",
		"550 4.2.2 mailbox is currently unavailable",
		"554 5.4.7 message timeout (exceeded max time, last: mailbox unavailable)",
	};

	(void)state;
	check(&postfix, replies, sizeof(replies) / sizeof(replies[0]), false);
}

/* What else is unknown, invalid or does not exist. */
static void
test_something_else(void **state)
{
	static const char *const replies[] = {
		"550 5.1.1 <x@y.test>: Recipient address rejected: Access denied for your network "
		"192.0.2.0/24",
		"550 Rejected: URL in message is on SURBL, user unknown to be safe",
		"535 5.7.8 Error: authentication failed: user unknown",
		"503 5.5.1 Error: need RCPT command; no valid recipients",
		"554 5.6.0 Message content not accepted: invalid address in header",
		"554 5.7.1 You are not allowed to connect: unknown host",
		"550 5.7.1 user x@y.test has a strict policy: mail from unknown hosts refused",
		"550 5.7.1 Delivery not authorized, message refused by user unknown-sender filter",
		"550 5.7.1 Account of sender has been suspended for spam",
		"550 authentication is required for relay: no such local user authenticated",
		"550 5.5.2 Invalid domain name in HELO: unknown domain",
		"553 From address must be a real mailbox; <news@our.test> does not exist",
		"550 This message contains malware (user unknown source)",
	};

	(void)state;
	check(&postfix, replies, sizeof(replies) / sizeof(replies[0]), false);
}

static void
test_made_up_status(void **state)
{
	static const char *const soft[] = {
		"550 Blocked by user preference",
		"554 Denied [CS] [x] (Mode: normal)",
		"550 Your message was refused by policy",
		"550 Error writing message: Input/output error on user's maildir",
		"550 Connection refused by mail store",
	};
	static const char *const hard[] = {
		"550 Requested action not taken",
		"550 No thanks",
		"550 5.1.1 Blocked? No: there is no such mailbox",
	};

	(void)state;
	check(&sendmail, soft, sizeof(soft) / sizeof(soft[0]), false);
	check(&sendmail, hard, sizeof(hard) / sizeof(hard[0]), true);
}

static void
test_more_ways_to_be_gone(void **state)
{
	static const char *const replies[] = {
		"550 Empfaenger unbekannt",
		"550 cuda_nsu x@y.test",
		"554 5.7.1 The user's mailbox was closed at his request",
		"550 Mailbox terminated",
		"550 This mailbox has been discontinued",
		"550 x@y.test does not have a mailbox on this system",
		"550 That user is not here",
		"550 Nobody here by that name",
		"550 The name x is not in our list of users",
		"550 delivery to x@y.test failed: no such object in directory",
		"550 Host y.test unknown",
		"550 User unknown; rejecting. If this is a temporary address, ask for another",
		"550 No such recipient here. Please try again with the correct address",
	};

	(void)state;
	check(&postfix, replies, sizeof(replies) / sizeof(replies[0]), true);
}

/* Words of a lost address beside words of the sender, of our host, of the content or of numbers. */
static void
test_not_the_address(void **state)
{
	static const char *const replies[] = {
		"554 5.0.0 The domain our.test does not exist (sender)",
		"550 5.1.1 mailbox unavailable: too many messages waiting",
		"550 Requested mail action not taken: local policy; mailbox unavailable",
		"550 utilisateur inconnu dans la liste blanche: expediteur refuse",
		"550 Error: content rejected, address of link does not exist",
		"554 Mail from unknown domain in URL refused",
		"550 5.1.1 RCPT TO invalid because MAIL FROM was refused",
		"550 No such user in the sending system",
		"550 The originator's mailbox does not exist",
		"550 from <news@our.test>: no such address",
		"554 5.0.0 Mail rejected: Reply-To domain does not exist",
		"550 Invalid recipient count: 120, maximum 100",
		"550 Unknown recipients percentage too high for your connection",
		"550 invalid user rate of 192.0.2.1 is above 10%",
		"550 Message-ID domain unknown",
		"550 User disabled delivery from bulk mailers",
		"550 unknown mailer-daemon error",
		"550 votre serveur n'existe pas dans le DNS",
		"550 su servidor no existe en DNS",
		"550 Adresse IP inconnue, connexion refusée",
		"550 relais interdit, domaine inconnu",
		"550 Requested action not taken: mailbox unavailable invalid DNS MX or A/AAAA "
		"resource record",
		"521 5.2.1 :  H will not accept delivery of this message.",
		"550 Delivery not authorized, message refused: unknown user agent",
		"550 Invalid user name in AUTH",
		"550 The address in From: does not exist",
		"550 No such domain key record",
		"550 domain not found in SPF",
		"550 Unknown host: our.test (HELO)",
		"550 Host not found for 192.0.2.1",
		"550 unknown content type",
		"550 Adresse de retour inexistante",
		"550 Le domaine de votre adresse n'existe pas",
		"550 dominio del emisor no existe",
		"550 indirizzo di ritorno inesistente",
		"550 来信域名不存在",
		"550 User quarantine enabled, address not found in trusted partners",
		"554 Recipient address rejected: Blocked by SpamAssassin, unknown domain in "
		"Received",
		"550 Domain of news@our.test does not exist",
		"550 unknown TLS error for user",
		"550 invalid recipient syntax in your list of 50",
		"550 Mailbox unavailable for messages with this size",
		"550 Mailbox disabled for sending only",
		"550 Benutzer hat Ihre Adresse gesperrt",
		"550 el usuario ha bloqueado su correo",
	};

	(void)state;
	check(&postfix, replies, sizeof(replies) / sizeof(replies[0]), false);
}

/* Something of theirs is out of order. */
static void
test_out_of_order(void **state)
{
	static const char *const replies[] = {
		"550 Mailbox not found because server database is offline",
		"550 Mailbox unavailable, the store is dismounted",
		"550 user unknown at the moment",
		"550 5.1.1 user not found (replica out of sync, will be repaired)",
		"550 5.1.1 Backend lookup failed for recipient",
		"550 user unknown; LDAP referral failed",
		"550 mailbox not found - migration in progress",
		"550 Mailbox unavailable due to server overload",
		"550 mailbox unavailable, disk failure",
		"550 recipient not found in cache, come again",
		"550 account locked for 24 hours",
	};

	(void)state;
	check(&postfix, replies, sizeof(replies) / sizeof(replies[0]), false);
}

static void
test_gone_without_accents(void **state)
{
	static const char *const replies[] = {
		"550 Nieznany uzytkownik",
		"550 Okand mottagare",
		"550 Pouzivatel nenajdeny",
		"550 Kullanici bulunamadi",
		"550 A felhasznalo nem letezik",
		"550 Kayttajaa ei loydy",
		"550 user closed the mailbox",
		"550 Not a valid e-mail address here",
		"550 cannot find your recipient",
		"550 Die Adresse gibt es nicht",
		"550 Diese E-Mail-Adresse existiert bei uns nicht",
		"550 cette adresse n existe pas",
		"550 Brugeren kendes ikke",
		"550 Konto finns inte",
		"550 5.4.1 All recipient addresses rejected : Access denied. AS(201806271)",
		"550 Usager inconnu",
		"550 Neexistujici adresa",
		"550 Nincs ilyen cimzett",
	};

	(void)state;
	check(&postfix, replies, sizeof(replies) / sizeof(replies[0]), true);
}

/* A name and a word: no list holds each pair, the grammar of them does. */
static void
test_names_and_words(void **state)
{
	static const char *const replies[] = {
		"550 USER_UNKNOWN",
		"550 no_such_user",
		"550 UNKNOWN_RECIPIENT (see https://help.test/e)",
		"550 account_disabled",
		"550 recipient_not_found",
		"550 Customer does not exist",
		"550 subscriber not found",
		"550 Username not recognized",
		"550 userid invalid",
		"550 Undefined mailbox",
		"550 not an active mailbox",
		"550 alias not found",
		"550 rcpt unknown",
		"550 no valid account",
		"550 nonexisting account",
		"550 account not listed",
		"550 mailbox not recognised",
		"550 address not defined",
		"550 recipient isn't valid",
		"550 Recipients mailbox can not be found",
		"550 unregistered user",
		"550 mail box unknown",
		"550 addressee does not exist",
		"550 invalid subscriber",
		"550 Account cannot be found",
		"550 mailbox is invalid",
		"550 user is not defined",
		"550 bad account",
		"550 recipient disabled",
		"550 user deactivated",
		"550 user deleted",
		"550 address disabled",
		"550 address expired",
		"550 Alias was deleted",
		"550 recipient is inactive",
		"554 Username suspended",
		"550 user account canceled",
		"550 user 'joe' unknown",
		"550 Mailbox \"joe\" not found",
		"550 account [joe] does not exist",
		"550 user joe.d not found",
		"550 recipient joe55 unknown",
	};

	(void)state;
	check(&postfix, replies, sizeof(replies) / sizeof(replies[0]), true);
}

/* The same words of somebody else's address, of a password, of a part of the host. */
static void
test_names_of_others(void **state)
{
	static const char *const replies[] = {
		"550 Invalid address in From header",
		"550 5.7.1 MAIL FROM address is invalid",
		"550 Sending user unknown",
		"550 Bad address in Reply-To",
		"553 Invalid address: envelope sender",
		"550 unknown address 192.0.2.9, no reverse lookup",
		"550 client address unknown",
		"550 IP address is not listed in our whitelist",
		"550 IP address unknown",
		"550 host address not found",
		"550 sending address does not exist",
		"450 mailbox closed for maintenance",
		"550 Invalid user agent",
		"550 SMTP AUTH user unknown",
		"550 authentication account disabled",
		"550 not a registered sender account",
		"550 URL address not found",
		"550 Return address is invalid",
		"550 bounce address does not exist",
		"550 Sender's mailbox does not exist",
		"550 callback: mailbox not found for sender",
		"550 reply address not found",
		"550 HELO address unknown",
		"550 originating account suspended",
		"550 server address is not listed in SPF",
		"550 bad recipient limit reached",
		"550 source address not recognized",
		"550 peer address is not registered",
		"550 your mailbox does not exist here, login first",
		"550 the account of the sender was closed",
		"550 relay user not found",
		"550 submitting user not found",
		"550 account used for sending is disabled",
		"550 unknown account in AUTH",
		"550 remote address not listed",
		"550 connecting address is invalid",
		"550 message from invalid user",
		"550 mail from unknown user rejected",
		"550 mail from user unknown",
		"550 From: address does not exist",
		"550 MAIL FROM:<> user unknown",
		"550 mail from invalid account not accepted",
		"550 originator mailbox not found",
		"550 author address not found",
		"550 reply-to mailbox does not exist",
		"550 unknown user name or bad password",
		"550 wrong user or password, account locked",
		"550 invalid user credentials",
		"550 invalid account or password",
		"550 mailbox server not found",
		"550 mailbox store not found",
		"550 user database not found",
		"550 mailbox process is not defined",
		"550 account lookup: backend not found",
		"550 user lookup service not found",
		"550 recipient lookup: server unknown",
		"550 recipient verification service not found",
		"550 address book not found",
		"550 address verification not recognized",
		"550 mailbox lock not found",
		"550 user certificate not found",
		"550 user certificate is unknown",
		"550 account balance unknown",
		"550 mailbox status unknown",
		"550 recipient status unknown, try again",
		"550 user quota unknown",
		"550 user location unknown",
		"550 user session is unknown",
		"550 address family not recognized",
		"550 address type not recognized",
		"550 account type unknown",
		"550 mailbox format not recognized",
		"550 mailbox size unknown",
		"550 user error unknown",
		"550 address resolution not found",
		"550 recipient server not found",
		"550 mailbox host unknown",
	};

	(void)state;
	check(&postfix, replies, sizeof(replies) / sizeof(replies[0]), false);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recipient_gone),
		cmocka_unit_test(test_not_the_recipient),
		cmocka_unit_test(test_not_now),
		cmocka_unit_test(test_something_else),
		cmocka_unit_test(test_made_up_status),
		cmocka_unit_test(test_more_ways_to_be_gone),
		cmocka_unit_test(test_not_the_address),
		cmocka_unit_test(test_out_of_order),
		cmocka_unit_test(test_gone_without_accents),
		cmocka_unit_test(test_names_and_words),
		cmocka_unit_test(test_names_of_others),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
