/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verdicts on diagnostic texts as MTAs, providers and gateways word them, in many languages: own
 * sentences in their manner. What a row asks is class and reason; the phase is not known, as in a
 * bounce. A text that names a temporary or foreign cause must not be hard, whatever its code says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "classify.h"
#include "codes.h"

struct row {
	const char *text, *reason;
};

static struct classify_verdict
judge(const char *text)
{
	struct slice s = slice_str(text);
	struct codes found = codes_find(s);
	struct classify_input in = { .code = found.code, .text = s };

	memcpy(in.enhanced, found.enhanced, sizeof(in.enhanced));
	return classify(&in);
}

static void
check(const struct row *rows, size_t count, enum outcome_class cls)
{
	size_t bad = 0;

	for (size_t i = 0; i < count; i++) {
		struct classify_verdict v = judge(rows[i].text);

		if (v.cls == cls && strcmp(v.reason, rows[i].reason) == 0)
			continue;
		print_message("# \"%s\": %s %s (%s), not %s %s\n", rows[i].text,
		    outcome_class_name(v.cls), v.reason, v.rule, outcome_class_name(cls),
		    rows[i].reason);
		bad++;
	}
	assert_int_equal(bad, 0);
}

#define CHECK(rows, cls) check(rows, sizeof(rows) / sizeof(rows[0]), cls)

static void
test_unknown_user(void **state)
{
	static const struct row rows[] = {
		{ "550 5.1.1 <a@b.test>: Recipient address rejected: User unknown in relay "
		  "recipient"
		  " table",
		    "user_unknown" },
		{ "550 5.1.1 <a@b.test>: Recipient address rejected: undeliverable address: host "
		  "mx.b.test[192.0.2.1] said: 550 unknown user",
		    "user_unknown" },
		{ "550 Unrouteable address", "user_unknown" },
		{ "550 no such address here", "user_unknown" },
		{ "550 5.1.1 <a@b.test>... User unknown", "user_unknown" },
		{ "511 sorry, no mailbox here by that name (#5.1.1 - chkuser)", "user_unknown" },
		{ "550 sorry, no valid recipients (#5.1.3)", "user_unknown" },
		{ "553 sorry, this recipient is not in my validrcptto list (#5.7.1)",
		    "user_unknown" },
		{ "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient a@b.test not found by SMTP "
		  "address lookup",
		    "user_unknown" },
		{ "550 5.1.1 RESOLVER.ADR.ExRecipNotFound; not found", "user_unknown" },
		{ "550-5.1.1 The email account that you tried to reach does not exist. Please try\n"
		  "550 5.1.1 double-checking the recipient's email address",
		    "user_unknown" },
		{ "554 delivery error: dd Not a valid recipient - atlas.test", "user_unknown" },
		{ "552 1 Requested mail action aborted, mailbox not found", "user_unknown" },
		{ "550 5.5.0 Requested action not taken: mailbox unavailable", "user_unknown" },
		{ "550 Invalid Recipient - https://community.test/docs/DOC-1369#550",
		    "user_unknown" },
		{ "550 5.1.1 Address does not exist - psmtp", "user_unknown" },
		{ "550 #5.1.0 Address rejected.", "user_unknown" },
		{ "550 User a@b.test not listed in Domino Directory", "user_unknown" },
		{ "550 <a@b.test>, Recipient unknown", "user_unknown" },
		{ "550 5.1.1 unknown or illegal alias: a@b.test", "user_unknown" },
		{ "550 5.1.1 <a@b.test>: user does not exist", "user_unknown" },
		{ "550 Message was not accepted -- invalid mailbox. Local mailbox a@b.test is "
		  "unavailable: user not found",
		    "user_unknown" },
		{ "550 Mailbox not found. http://service.qq.test/cgi-bin/help?id=20022",
		    "user_unknown" },
		{ "550 User not found: a@b.test", "user_unknown" },
		{ "550 RCPT TO:<a@b.test> User not exist", "user_unknown" },
		{ "550 5.7.1 No such user!", "user_unknown" },
		{ "550 No such recipient here", "user_unknown" },
		{ "550 There is no one at this address", "user_unknown" },
		{ "550 This address no longer accepts mail", "mailbox_disabled" },
		{ "550 Nobody by that name here", "user_unknown" },
		{ "550 cannot find the recipient", "user_unknown" },
		{ "550 That mailbox does not exist", "user_unknown" },
		{ "550 we have no record of this recipient", "user_unknown" },
		{ "550 5.1.1 Recipient does not exist here", "user_unknown" },
		{ "550 Addressee unknown, relay=[192.0.2.1]", "user_unknown" },
		{ "550 unknown email address", "user_unknown" },
		{ "550 e-mail address not found", "user_unknown" },
		{ "550 mail box not found", "user_unknown" },
		{ "550 Recipient Rejected: No account by that name here", "user_unknown" },
		/* languages */
		{ "550 Unbekannter Benutzer", "user_unknown" },
		{ "550 Empfänger nicht bekannt", "user_unknown" },
		{ "550 Die Adresse ist nicht bekannt", "user_unknown" },
		{ "550 Diese E-Mail-Adresse existiert nicht", "user_unknown" },
		{ "550 5.1.1 Adresse d'un destinataire inexistante", "user_unknown" },
		{ "550 Adresse email inconnue", "user_unknown" },
		{ "550 Utilisateur inexistant", "user_unknown" },
		{ "550 La dirección de correo no existe", "user_unknown" },
		{ "550 El usuario no existe", "user_unknown" },
		{ "550 Destinatário não encontrado", "user_unknown" },
		{ "550 Usuário inexistente", "user_unknown" },
		{ "550 Utente non trovato", "user_unknown" },
		{ "550 Indirizzo e-mail non valido", "user_unknown" },
		{ "550 Gebruiker niet gevonden", "user_unknown" },
		{ "550 Het e-mailadres is onbekend", "user_unknown" },
		{ "550 Nie ma takiego użytkownika", "user_unknown" },
		{ "550 Użytkownik nie istnieje", "user_unknown" },
		{ "550 Adresat nieznany", "user_unknown" },
		{ "550 Пользователь не найден", "user_unknown" },
		{ "550 Такого пользователя нет", "user_unknown" },
		{ "550 Получатель не существует", "user_unknown" },
		{ "550 Почтовый ящик не найден", "user_unknown" },
		{ "550 用户不存在", "user_unknown" },
		{ "550 收件人地址不存在", "user_unknown" },
		{ "550 找不到收件人", "user_unknown" },
		{ "550 無此使用者", "user_unknown" },
		{ "550 존재하지 않는 사용자입니다", "user_unknown" },
		{ "550 수신자를 찾을 수 없습니다", "user_unknown" },
		{ "宛先のメールアドレスは存在しません", "user_unknown" },
		{ "メールアドレスが見つかりません", "user_unknown" },
		{ "宛先のアドレスが正しくありません", "user_unknown" },
		{ "該当するメールアドレスがありません", "user_unknown" },
		{ "ユーザーが登録されていません", "user_unknown" },
	};

	(void)state;
	CHECK(rows, OUTCOME_HARD);
}

static void
test_closed_and_moved(void **state)
{
	static const struct row rows[] = {
		{ "550 5.2.1 The email account that you tried to reach is disabled.",
		    "mailbox_disabled" },
		{ "554 30 Sorry, your message to a@b.test cannot be delivered. This mailbox is "
		  "disabled (554.30).",
		    "mailbox_disabled" },
		{ "550 Mailbox is inactive", "mailbox_disabled" },
		{ "550 Account has been closed", "mailbox_disabled" },
		{ "550 User account suspended", "mailbox_disabled" },
		{ "550 5.2.1 Mailbox disabled for a@b.test", "mailbox_disabled" },
		{ "550 account is deactivated", "mailbox_disabled" },
		{ "550 account has been deleted", "mailbox_disabled" },
		{ "550 this mailbox has been blocked due to inactivity", "mailbox_disabled" },
		{ "550 The account has been terminated", "mailbox_disabled" },
		{ "550 Das Konto ist gesperrt", "mailbox_disabled" },
		{ "550 Postfach deaktiviert", "mailbox_disabled" },
		{ "550 Compte désactivé", "mailbox_disabled" },
		{ "550 Cuenta deshabilitada", "mailbox_disabled" },
		{ "550 Conta desativada", "mailbox_disabled" },
		{ "550 Casella disattivata", "mailbox_disabled" },
		{ "550 Konto zostało zablokowane", "mailbox_disabled" },
		{ "550 Аккаунт заблокирован", "mailbox_disabled" },
		{ "550 Почтовый ящик отключен", "mailbox_disabled" },
		{ "550 账号已停用", "mailbox_disabled" },
		{ "550 휴면 계정입니다", "mailbox_disabled" },
		{ "このメールアドレスは解約されています", "mailbox_disabled" },
		{ "アカウントは停止されています", "mailbox_disabled" },
		{ "ご利用を停止しているメールアドレスです", "mailbox_disabled" },
		{ "551 User not local; please try <a@new.test>", "moved" },
		{ "550 5.1.6 recipient has moved, no forwarding address", "moved" },
		{ "550 The recipient no longer works here", "moved" },
	};

	(void)state;
	CHECK(rows, OUTCOME_HARD);
}

static void
test_unknown_domain(void **state)
{
	static const struct row rows[] = {
		{ "Host or domain name not found. Name service error for name=b.test type=A: Host "
		  "not "
		  "found",
		    "domain_unknown" },
		{ "550 5.1.2 Bad destination host 'DNS Hard Error looking up b.test (MX): "
		  "NXDomain'",
		    "domain_unknown" },
		{ "554 5.4.4 Invalid recipient domain", "domain_unknown" },
		{ "Domain b.test does not accept mail (nullMX)", "domain_unknown" },
		{ "556 5.1.10 Recipient address has null MX", "domain_unknown" },
		{ "Sorry, I couldn't find any host named b.test. (#5.1.2)", "domain_unknown" },
		{ "No MX for b.test found", "domain_unknown" },
		{ "550 Der Domainname existiert nicht", "domain_unknown" },
		{ "550 Le nom de domaine n'existe pas", "domain_unknown" },
		{ "550 El dominio no existe", "domain_unknown" },
		{ "550 O domínio não existe", "domain_unknown" },
		{ "550 Il dominio non esiste", "domain_unknown" },
		{ "550 Domena nie istnieje", "domain_unknown" },
		{ "550 Домен не существует", "domain_unknown" },
		{ "550 域名不存在", "domain_unknown" },
		{ "宛先のドメインが存在しません", "domain_unknown" },
		{ "ドメインが見つかりませんでした", "domain_unknown" },
	};

	(void)state;
	CHECK(rows, OUTCOME_HARD);
}

static void
test_full(void **state)
{
	static const struct row rows[] = {
		{ "552 5.2.2 <a@b.test>: Recipient address rejected: Mailbox is full",
		    "mailbox_full" },
		{ "452 4.2.2 The email account that you tried to reach is over quota.",
		    "mailbox_full" },
		{ "552-5.2.2 The recipient's inbox is out of storage space and inactive.",
		    "mailbox_full" },
		{ "550 5.2.2 STOREDRV.Deliver; mailbox full. The following information should help",
		    "mailbox_full" },
		{ "554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException.Map",
		    "mailbox_full" },
		{ "550 5.1.1 User mailbox exceeds allowed size", "mailbox_full" },
		{ "552 RCPT TO:<a@b.test> Mailbox disk quota exceeded", "mailbox_full" },
		{ "552 Quota exceeded (mailbox for user is full)", "mailbox_full" },
		{ "554 Mailbox of this user is full.", "mailbox_full" },
		{ "maildir delivery failed: mailbox quota exceeded", "mailbox_full" },
		{ "452 4.2.2 Over quota", "mailbox_full" },
		{ "552 Requested mail action aborted: exceeded storage allocation",
		    "mailbox_full" },
		{ "550 5.0.0 account storage limit reached", "mailbox_full" },
		{ "552 the mailbox has reached its quota", "mailbox_full" },
		{ "550 Mailbox has reached its maximum size", "mailbox_full" },
		{ "552 insufficient mailbox space", "mailbox_full" },
		{ "550 Postfach voll", "mailbox_full" },
		{ "550 Das Postfach hat sein Speicherlimit erreicht", "mailbox_full" },
		{ "550 Speicherplatz überschritten", "mailbox_full" },
		{ "552 Boîte aux lettres pleine", "mailbox_full" },
		{ "552 Quota dépassé", "mailbox_full" },
		{ "552 El buzón del destinatario está lleno", "mailbox_full" },
		{ "552 Espacio insuficiente en el buzón", "mailbox_full" },
		{ "552 Caixa de correio cheia", "mailbox_full" },
		{ "552 La casella del destinatario è piena", "mailbox_full" },
		{ "552 Mailbox is vol", "mailbox_full" },
		{ "552 Postvak vol", "mailbox_full" },
		{ "552 Skrzynka odbiorcy jest pełna", "mailbox_full" },
		{ "552 Przekroczono limit skrzynki", "mailbox_full" },
		{ "552 Почтовый ящик переполнен", "mailbox_full" },
		{ "552 Превышена квота", "mailbox_full" },
		{ "552 收件人邮箱已满", "mailbox_full" },
		{ "552 邮箱空间不足", "mailbox_full" },
		{ "552 信箱已滿", "mailbox_full" },
		{ "552 메일함이 가득 찼습니다", "mailbox_full" },
		{ "552 수신자의 메일 용량이 초과되었습니다", "mailbox_full" },
		{ "受信者のメールボックスが一杯です", "mailbox_full" },
		{ "メールボックスの容量を超えています", "mailbox_full" },
		{ "メールボックスの容量が不足しています", "mailbox_full" },
		{ "受信ボックスがいっぱいのため受信できません", "mailbox_full" },
		{ "保存容量を超過しているため受信できませんでした", "mailbox_full" },
	};

	(void)state;
	CHECK(rows, OUTCOME_SOFT);
}

/* Whatever code or word of a lost address stands beside. */
static void
test_never_hard(void **state)
{
	static const struct row rows[] = {
		{ "450 4.2.0 <a@b.test>: Recipient address rejected: Greylisted, come back in 300 "
		  "s",
		    "greylisted" },
		{ "451 4.7.1 Greylisting in action, please come back later", "greylisted" },
		{ "550 5.1.1 greylisted user unknown", "greylisted" },
		{ "450 4.1.1 <a@b.test>: unverified address: Address verification in progress",
		    "user_unknown" },
		{ "550 5.1.1 mailbox temporarily unavailable", "system" },
		{ "550 5.2.1 This account has been temporarily suspended", "system" },
		{ "550 The user account is temporarily disabled", "system" },
		{ "550 Postfach vorübergehend nicht verfügbar", "system" },
		{ "550 Boîte temporairement indisponible", "system" },
		{ "550 Cuenta temporalmente bloqueada", "system" },
		{ "550 Ящик временно недоступен", "system" },
		{ "550 一時的に受信できません", "system" },
		{ "550 5.1.1 DNS timeout while looking up the recipient domain", "network" },
		{ "Name service error for name=b.test type=MX: Host not found, try again",
		    "network" },
		{ "550 5.1.2 temporary DNS failure for b.test", "network" },
		{ "DNS lookup failed: server failure", "network" },
		{ "TLS negotiation failed with mx.b.test", "network" },
		{ "403 4.7.0 TLS handshake failed.", "network" },
		{ "Cannot start TLS: handshake failure", "network" },
		{ "certificate verification failed for mx.b.test: self-signed certificate",
		    "network" },
		{ "554 5.4.6 Too many hops", "network" },
		{ "554 5.4.14 Hop count exceeded - possible mail loop ATTR34", "network" },
		{ "mail for b.test loops back to myself", "network" },
		{ "connect to mx.b.test[192.0.2.1]:25: No route to host", "network" },
		{ "421 4.4.2 mx.b.test Error: timeout exceeded", "network" },
		{ "lost connection with mx.b.test while sending RCPT TO", "network" },
		{ "Connection timed out; could not reach the host", "network" },
		{ "サーバーに接続できませんでした", "network" },
		{ "接続がタイムアウトしました", "network" },
		{ "Zeitüberschreitung bei der Verbindung", "network" },
		{ "Délai de connexion dépassé", "network" },
		{ "Tiempo de espera agotado", "network" },
		{ "Превышено время ожидания", "network" },
		{ "连接超时", "network" },
		{ "Message expired after 5 days: host not found", "expired" },
		{ "4.4.7 delivery time expired; last error: user unknown", "expired" },
		{ "Message could not be delivered for 4 days; giving up", "expired" },
		{ "Unable to deliver this message after multiple retries, giving up.", "expired" },
		{ "再送期限を過ぎたため配送を中止しました", "expired" },
		{ "452 4.3.1 Insufficient system storage", "system" },
		{ "451 4.3.0 Temporary lookup failure", "network" },
		{ "450 Requested mail action not taken: mailbox unavailable", "user_unknown" },
		{ "451 Requested action aborted: local error in processing", "system" },
		{ "421 Service not available, closing transmission channel", "system" },
		{ "432 4.3.2 STOREDRV; mailbox server is busy; user not found in cache",
		    "user_unknown" },
		{ "450 4.2.1 The user you are trying to contact is receiving mail at a rate that "
		  "prevents additional messages from being delivered.",
		    "rate" },
		/* not found, and not the address */
		{ "Server nicht gefunden", "undefined" },
		{ "Serveur introuvable", "undefined" },
		{ "서버를 찾을 수 없습니다", "undefined" },
		{ "差出人のSPFレコードが登録されていません", "undefined" },
		{ "Es ist ein Fehler aufgetreten", "undefined" },
		{ "エラーが発生しました", "undefined" },
	};

	(void)state;
	CHECK(rows, OUTCOME_SOFT);
}

static void
test_blocks(void **state)
{
	static const struct row rows[] = {
		{ "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using "
		  "zen.rbl.test",
		    "reputation" },
		{ "550 5.7.1 Your IP is on our blocklist; user unknown", "reputation" },
		{ "554 IP=192.0.2.1 - A problem occurred. Your IP has a poor reputation",
		    "reputation" },
		{ "550 5.7.606 Access denied, banned sending IP [192.0.2.1]", "reputation" },
		{ "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred", "rate" },
		{ "550 5.5.1 Too many invalid recipients", "rate" },
		{ "452 4.5.3 Too many recipients", "rate" },
		{ "421 too many connections from your host", "rate" },
		{ "550 Connection frequency limited", "rate" },
		{ "450 4.7.1 Rate limit exceeded", "rate" },
		{ "550 Requested action not taken: mailbox unavailable. Reject due to policy "
		  "restrictions.",
		    "policy" },
		{ "550 Administrative prohibition - envelope blocked", "policy" },
		{ "550 5.7.1 recipient not accepted for policy reasons, mailbox does not exist",
		    "policy" },
		{ "554 5.7.1 Message refused by recipient's policy", "policy" },
		{ "受信者の設定により受信拒否されました", "policy" },
		{ "550 5.7.1 Zugriff aus Sicherheitsgründen verweigert", "policy" },
		{ "550 5.7.1 you are not welcome here", "policy" },
		{ "554 Отклонено политикой безопасности", "policy" },
		{ "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup", "policy" },
	};

	(void)state;
	CHECK(rows, OUTCOME_BLOCK);
}

static void
test_ours(void **state)
{
	static const struct row rows[] = {
		{ "550 5.7.26 This message fails to pass SPF checks for an SPF record", "auth" },
		{ "550 5.7.1 Email rejected per DMARC policy for our.test", "auth" },
		{ "550 SPF check failed: host not listed in the record", "auth" },
		{ "550 5.7.20 No valid DKIM signature found; recipient does not exist", "auth" },
		{ "550 5.7.25 [192.0.2.1] The IP address sending this message does not have a PTR "
		  "record",
		    "auth" },
		{ "554 5.7.1 Client host rejected: cannot find your reverse hostname", "auth" },
		{ "530 5.7.0 Must issue a STARTTLS command first", "auth" },
		{ "550 5.7.1 <mx.our.test>: Helo command rejected: Host not found", "config" },
		{ "550 5.1.8 <news@our.test>: Sender address rejected: Domain not found",
		    "config" },
		{ "553 5.1.8 Domain of sender address news@our.test does not exist", "config" },
		{ "550 Your domain is not valid", "config" },
		{ "550 Your account has been suspended for sending", "config" },
		{ "500 5.5.1 Command not recognized", "config" },
		{ "502 5.5.2 Error: command is not recognised", "config" },
		{ "550 relaying is disabled", "config" },
		{ "550 5.7.1 Unable to relay for a@b.test", "config" },
		{ "554 5.7.1 <a@b.test>: Relay access denied", "config" },
		{ "503 bad sequence of commands", "config" },
	};

	(void)state;
	CHECK(rows, OUTCOME_CONFIG);
}

static void
test_messages(void **state)
{
	static const struct row rows[] = {
		{ "552 5.3.4 Message size exceeds fixed limit", "too_large" },
		{ "552 message size exceeds maximum permitted", "too_large" },
		{ "550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient",
		    "too_large" },
		{ "552 Nachricht zu groß", "too_large" },
		{ "552 Message trop volumineux", "too_large" },
		{ "552 El mensaje es demasiado grande", "too_large" },
		{ "552 A mensagem é muito grande", "too_large" },
		{ "552 Messaggio troppo grande", "too_large" },
		{ "552 Bericht te groot", "too_large" },
		{ "552 Wiadomość jest za duża", "too_large" },
		{ "552 Размер сообщения превышает допустимый", "too_large" },
		{ "552 邮件太大", "too_large" },
		{ "552 메일 크기가 너무 큽니다", "too_large" },
		{ "メールのサイズが大きすぎます", "too_large" },
		{ "メールサイズが上限を超えています", "too_large" },
		{ "554 5.7.1 Message contains a virus", "content" },
		{ "550 This message was classified as SPAM", "content" },
		{ "554 rejected due to spam content", "content" },
		{ "550 5.7.1 message looks like spam to us, mailbox unavailable", "content" },
		{ "554 5.6.0 Message with invalid header", "content" },
		{ "550 mail content denied", "content" },
		{ "552-5.7.0 This message was blocked because its content presents a potential "
		  "security issue.",
		    "content" },
		{ "554 DT:SPM, suspected spam", "content" },
		{ "迷惑メールと判定されました", "content" },
		{ "ウイルスが検出されました", "content" },
		{ "550 Spam-Verdacht", "content" },
		{ "550 Spam détecté", "content" },
		{ "550 疑似垃圾邮件", "content" },
		{ "550 스팸으로 분류되었습니다", "content" },
		{ "550 Обнаружен спам", "content" },
	};

	(void)state;
	CHECK(rows, OUTCOME_MESSAGE);
}

/* Scripts without blanks, and what their hosts say of an address or a mailbox. */
static void
test_unspaced_hard(void **state)
{
	static const struct row rows[] = {
		{ "550 このメールアドレスは現在使われておりません。", "user_unknown" },
		{ "550 入力されたアドレスは使われていません", "user_unknown" },
		{ "宛先のアドレスは既に使用されておりません。", "user_unknown" },
		{ "550 お送り先のメールアドレスは当サーバーに登録されていません", "user_unknown" },
		{ "該当ユーザーは弊社に登録されておりません", "user_unknown" },
		{ "550 指定された宛先は登録されておらず、配送できません", "user_unknown" },
		{ "既に使われていないメールアドレスです", "user_unknown" },
		{ "送信先アドレスは昨年廃止されています", "user_unknown" },
		{ "ご利用のないアドレスです", "user_unknown" },
		{ "ユーザー a (a@b.test) は Domino ディレクトリにリストされていません",
		    "user_unknown" },
		{ "ユーザー a が Domino ディレクトリにありません", "user_unknown" },
		{ "送信先のドメイン名に誤りがあります", "domain_unknown" },
		{ "550 宛先アドレスのドメインに誤りがあるため配送できません", "domain_unknown" },
	};

	(void)state;
	CHECK(rows, OUTCOME_HARD);
}

static void
test_unspaced_full(void **state)
{
	static const struct row rows[] = {
		{ "相手先メールボックスの容量が上限に達したため受信できません", "mailbox_full" },
		{ "552 ご利用容量の上限に達しているため、お届けできません", "mailbox_full" },
		{ "受信箱の容量が超過しております", "mailbox_full" },
		{ "お客様の保存容量が制限を超えています", "mailbox_full" },
		{ "552 ディスク使用量が上限を超えました", "mailbox_full" },
		{ "受信者のディスク容量が制限値を超えております", "mailbox_full" },
		{ "宛先メールボックスのサイズが上限を超えています", "mailbox_full" },
	};

	(void)state;
	CHECK(rows, OUTCOME_SOFT);
}

/* The same words of a list, of our host, of one mail. */
static void
test_unspaced_other(void **state)
{
	static const struct row blocks[] = {
		{ "550 お客様のアドレスは受信拒否リストに登録されています", "policy" },
		{ "550 送信サーバのIPアドレスは逆引きに登録されていません", "policy" },
		{ "550 Пользователь запретил прием, письмо удалено", "policy" },
		{ "550 Lo ha enviado ningún usuario con autenticación", "policy" },
		{ "550 Aucun utilisateur avec authentification SMTP", "policy" },
		{ "550 送信ドメイン認証の情報が存在しておりません", "policy" },
		{ "550 ваш IP не зарегистрирован, пользователь не зарегистрирован", "policy" },
		{ "550 Dit IP-adres is niet meer in gebruik", "policy" },
		{ "550 このメールのリンクアドレスは無効となっております", "policy" },
		{ "550 Lien: adresse web n'est plus active", "policy" },
		{ "550 Fromアドレスが当社に登録されていません", "policy" },
		{ "550 ヘッダFromのアドレスは使用されていません", "policy" },
		{ "550 お客様のアドレスは送信許可リストに登録されていません", "policy" },
		{ "550 あなたのアドレスはアドレス帳に登録されていないため拒否されました",
		    "policy" },
		{ "550 発信元アドレスは登録されていません", "policy" },
		{ "550 返信先アドレスが登録されていません", "policy" },
		{ "550 このアドレスは登録されていないドメインからのメールを受信しません",
		    "policy" },
		{ "550 リンク先のアドレスは使用されていません", "policy" },
		{ "550 このアドレスからのメールは受信者により削除されました", "policy" },
		{ "550 발신 계정이 삭제되었습니다", "policy" },
		{ "550 IP adresi alıcı sisteminde kayıtlı değil", "policy" },
		{ "550 お使いの認証アカウントは停止されています", "policy" },
		{ "550 您的IP地址不存在反向解析", "policy" },
		{ "550 発信者のメールアドレスは現在使われておりません", "policy" },
		{ "550 宛先アドレスが多すぎます。登録されていません", "policy" },
	};
	static const struct row messages[] = {
		{ "552 添付ファイルの容量が上限を超えています", "too_large" },
		{ "メール1通あたりの容量が制限を超えています", "too_large" },
	};

	(void)state;
	CHECK(blocks, OUTCOME_BLOCK);
	CHECK(messages, OUTCOME_MESSAGE);
}

/* Domino names its directory in the language of the server; and other single sentences. */
static void
test_single_hard(void **state)
{
	static const struct row rows[] = {
		{ "Benutzer otto (otto@b.test) nicht im Domino-Verzeichnis aufgelistet",
		    "user_unknown" },
		{ "Benutzer otto ist nicht im firmenweiten Namens- und Adressbuch eingetragen",
		    "user_unknown" },
		{ "Usuario otto (otto@b.test) no listado en el Directorio Domino", "user_unknown" },
		{ "Utente otto (otto@b.test) non elencato nella Directory Domino", "user_unknown" },
		{ "550 Recipient account suspended for non payment", "mailbox_disabled" },
		{ "550 Recipient suspended for non payment", "mailbox_disabled" },
		{ "Der Host b.test existiert nicht im DNS", "domain_unknown" },
	};

	(void)state;
	CHECK(rows, OUTCOME_HARD);
}

static void
test_single_soft(void **state)
{
	static const struct row rows[] = {
		{ "550 De mailbox van de geadresseerde is vol", "mailbox_full" },
		{ "550 La casilla de correo del destinatario está llena", "mailbox_full" },
		{ "550 Recipient verify failed: host lookup did not complete", "network" },
		{ "554 Service currently unavailable (#4.3.2)", "system" },
		{ "432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded", "rate" },
	};

	(void)state;
	CHECK(rows, OUTCOME_SOFT);
}

static void
test_single_blocks(void **state)
{
	static const struct row rows[] = {
		{ "550 Sender rejected: recipient only accepts mail from known contacts",
		    "policy" },
		{ "550 this mailbox accepts mail only from its address book", "policy" },
		{ "The sender is not authorized to send to this recipient", "policy" },
	};

	(void)state;
	CHECK(rows, OUTCOME_BLOCK);
}

/* What was missed of sixty texts at first sight. */
static void
test_missed(void **state)
{
	static const struct row hard[] = {
		{ "554 5.7.1 b@b.test: the owner of this mailbox has retired", "moved" },
		{ "553 sorry, that recipient is not in my list of local users (#5.7.1)",
		    "user_unknown" },
		{ "550 Diese E-Mail-Adresse wurde vom Inhaber aufgegeben", "mailbox_disabled" },
		{ "550 Le destinataire n'est plus client chez nous", "mailbox_disabled" },
		{ "550 Cette adresse e-mail n'est plus utilisée", "user_unknown" },
		{ "550 O endereço informado não foi localizado neste servidor", "user_unknown" },
		{ "550 L'indirizzo del destinatario è stato disattivato", "mailbox_disabled" },
		{ "550 Dit e-mailadres is niet meer in gebruik", "user_unknown" },
		{ "550 De ontvanger is bij ons niet bekend", "user_unknown" },
		{ "550 Почтовый ящик получателя закрыт", "mailbox_disabled" },
		{ "550 Адресат с таким именем не зарегистрирован", "user_unknown" },
		{ "550 Mottagaren kunde inte hittas i vårt register", "user_unknown" },
		{ "550 Brugerens postkasse er nedlagt", "mailbox_disabled" },
		{ "550 Kontoen er slettet", "mailbox_disabled" },
		{ "550 Příjemce u nás nemá schránku", "user_unknown" },
		{ "550 Alıcı adresi sistemimizde kayıtlı değil", "user_unknown" },
		{ "550 수신자의 메일 계정이 삭제되었습니다", "mailbox_disabled" },
		{ "550 お送りいただいたメールアドレスは削除されました", "mailbox_disabled" },
		{ "550 宛先のサーバーが見つかりません", "domain_unknown" },
		{ "550 ไม่พบบัญชีผู้ใช้นี้", "user_unknown" },
		{ "550 Người nhận không có trong hệ thống", "user_unknown" },
		{ "550 Nobody with that address has an account with us", "user_unknown" },
		{ "550 The person you wrote to left our company in May", "moved" },
		{ "550 Empfängerpostfach wurde stillgelegt", "mailbox_disabled" },
		{ "550 Kein Empfänger mit diesem Namen vorhanden", "user_unknown" },
		{ "550 Aucun utilisateur de ce nom", "user_unknown" },
		{ "550 No hay ningún usuario con ese nombre", "user_unknown" },
		{ "550 Usuário não cadastrado", "user_unknown" },
		{ "550 Conta de e-mail removida", "mailbox_disabled" },
		{ "550 Nessun utente con questo nome", "user_unknown" },
		{ "550 La casella è stata cancellata", "mailbox_disabled" },
		{ "550 Dit account is verwijderd", "mailbox_disabled" },
		{ "550 Пользователь удалён", "mailbox_disabled" },
		{ "550 Kontot har tagits bort", "mailbox_disabled" },
		{ "550 宛先のアカウントは既に存在しておりません", "user_unknown" },
		{ "550 ご指定のメールアドレスは無効となっております", "mailbox_disabled" },
		{ "550 指定のアドレスは既にご利用を終了されています", "mailbox_disabled" },
		{ "550 该邮箱地址已失效", "mailbox_disabled" },
		{ "550 해당 메일 주소는 더 이상 사용되지 않습니다", "mailbox_disabled" },
		{ "550 Hesap silinmiş", "mailbox_disabled" },
		{ "550 Ο λογαριασμός έχει διαγραφεί", "mailbox_disabled" },
	};
	static const struct row soft[] = {
		{ "550 El buzón del destinatario no está disponible porque superó su capacidad",
		    "mailbox_full" },
		{ "550 A caixa de correio do destinatário está sem espaço", "mailbox_full" },
		{ "Connection to mx.b.test was dropped before the greeting", "network" },
	};

	(void)state;
	CHECK(hard, OUTCOME_HARD);
	CHECK(soft, OUTCOME_SOFT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unknown_user),
		cmocka_unit_test(test_closed_and_moved),
		cmocka_unit_test(test_unknown_domain),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_never_hard),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_ours),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_unspaced_hard),
		cmocka_unit_test(test_unspaced_full),
		cmocka_unit_test(test_unspaced_other),
		cmocka_unit_test(test_single_hard),
		cmocka_unit_test(test_single_soft),
		cmocka_unit_test(test_single_blocks),
		cmocka_unit_test(test_missed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
