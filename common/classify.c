/* SPDX-License-Identifier: Apache-2.0 */
/*
 * classify: see classify.h. One table, first match wins; a row holds the conditions, the verdict
 * and where the rule comes from. Order: what a provider is known to mean by its own words, words
 * that leave no doubt, enhanced codes, weaker words, bare reply codes.
 *
 * Four rules stand outside the table: a HARD verdict on anything but a 5xx is SOFT (the server
 * itself says "not now"), so is one beside words that say so; a HARD row is passed over when the
 * enhanced code is about something else than the address; and a scope of the row is only ever
 * widened by the phase.
 */
#include "classify.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include "classify_user.h"
#include "classify_words.h"
#include "phrases.h"
#include "words.h"

#define TEXT_MAX 2048
#define ANY (-1)

/* Phases of a row, as bits. */
enum {
	P_SESSION = 1, /* CONNECT .. AUTH */
	P_MAIL = 2,
	P_RCPT = 4, /* and diagnostics without a phase */
	P_LATE = 8, /* DATA, content, dot */
	P_ALL = 15
};

struct rule {
	int code;      /* 0 any; 4 or 5 the first digit; else the whole code */
	int subject;   /* second number of the enhanced code, ANY = even without one */
	int detail[2]; /* third number, from and to; ANY = every one */
	unsigned phases;
	const char *words; /* phrases of words.h; NULL = any text */
	enum outcome_class cls;
	enum outcome_scope scope;
	const char *reason;
	const char *source;
};

#define NO_ENHANCED                                                                                \
	ANY,                                                                                       \
	{                                                                                          \
		ANY, ANY                                                                           \
	}
#define DETAIL(s, d)                                                                               \
	s,                                                                                         \
	{                                                                                          \
		d, d                                                                               \
	}
#define DETAILS(s, from, to)                                                                       \
	s,                                                                                         \
	{                                                                                          \
		from, to                                                                           \
	}
#define SUBJECT(s)                                                                                 \
	s,                                                                                         \
	{                                                                                          \
		ANY, ANY                                                                           \
	}
#define RECIPIENT OUTCOME_SCOPE_RECIPIENT
#define MESSAGE OUTCOME_SCOPE_MESSAGE
#define SESSION OUTCOME_SCOPE_SESSION
#define ROUTE OUTCOME_SCOPE_ROUTE

/* Said beside a code or word of a lost address: what was refused now may be there tomorrow, or
 * nobody could look. */
static const char not_now[] =
    /* come back */
    "try again later|try again in |try again tomorrow|try later|retry later|retry in |retry after|"
    "retry tomorrow|please retry|come back later|later time|resend later|resend it later|plus tard|"
    "más tarde|più tardi|mais tarde|später erneut|später noch|"
    /* for now */
    "temporarily|temporary failure|temporary problem|temporary condition|: temporary error|"
    ", temporary error|(temporary|transient|at the moment|at this moment|for the moment|"
    "at this time|right now|currently|for now| deferred|550 4.|551 4.|552 4.|553 4.|554 4.|"
    "vorübergehend|derzeit|zurzeit|zur zeit|momentan|temporaire|en ce moment|temporal |"
    "actualmente|en este momento|al momento|attualmente|no momento|atualmente|momenteel|"
    /* something of theirs is out of order */
    "user lookup fail|recipient lookup fail|address lookup fail|mailbox lookup fail|lookup "
    "error|lookup timed out|unverified address|unable to verify user|"
    "unable to verify recipient|unable to verify address|ldap|directory server|directory service|"
    "database|backend|mailbox server|mailbox store|user server| referral| cache|locked for|timed "
    "out|timeout|offline|overload|maintenance|shutting down|"
    "server unreachable|disk failure|disk error|dismounted|not mounted|out of sync|replica|"
    "migrat|in progress|another process|another session";

/* Words that no reply about a lost address was seen to hold, of some 560: who writes, what he writes,
 * from where, how much, and who may. Beside them the words or the code of a lost address are about
 * something else. */
static const char not_the_address[] =
    /* who writes */
    "sender |sender's|(sender|sender)|unknown sender|invalid sender|bad sender|originator|"
    "return path|return-path|return address|reply-to|from <>:|550 from <>|in from|mail from was|"
    "bad mail from|adresse de retour|di ritorno|de retorno|emisor|de origem|de origen|"
    "expéditeur|absender|remitente|remetente|mittente|afzender|avsändare|avsender|afsender|"
    "odesílatel|odosielateľ|nadawc|feladó|gönderen|lähettäj|отправител|відправник|差出人|送信元|"
    "送信者|発信元|発信者|返信先|接続元|接続ホスト|ipアドレス|逆引き|fromアドレス|fromの|"
    "ヘッダfrom|ヘッダーfrom|リンク先|リンクアドレス|ドメイン認証|認証アカウント|認証に|多すぎ|"
    "リストに|アドレス帳に登録|"
    "登録されていないドメイン|来信|ip地址不|发信|发件人|寄件者|寄件人|보낸 사람|발신자|발신 "
    "|발신인|ip adres|αποστολέ|ваш ip|ip-adres |adresse web|"
    "mail from user|mail from account|mail from mailbox|mail from address|from unknown|from "
    "invalid|"
    "from: address|from:<> |from: user|for sender|" NAME_OF_OTHERS "|"
    /* from where */
    "your mailbox|password|log in|login first|ip address|address book not|address family|"
    "address type|address verification|address resolution|host address|"
    "mailbox process|mailbox host|your ip|your host|your server|your smtp|your client|your "
    "domain|your network|your country|"
    "your region|your account|your helo|your connection|your mail server|your mta|your dns|"
    "your address|your organi|the sending|sending system|helo |ehlo |helo)|ehlo)|in helo|in ehlo|"
    "in auth|credential|authenticat|host not found for|dns mx|resource record|unknown client|"
    "ihre adresse|votre adresse|su correo|seu endereço|your list|domain of <>|domain of "
    "does|client host|client name|client ip|adresse ip|indirizzo ip|dirección ip|endereço ip|"
    "ip-adresse|ihr server|ihre domain|ihr host|votre serveur|votre domaine|domaine de votre|"
    "su servidor|su dominio|seu servidor|seu domínio| il server|connexion refus|"
    "connection rejected|relais interdit|geoip| spf| dkim|domain key|reputation|"
    /* what he writes */
    " content|attachment|message-id|in header|in the header|in url|in the url|of link|in link|"
    "in the link|user agent|bulk|newsletter|commercial mail|advertis| spam |spam)|as spam|"
    "spam trap|spam filter|spamassassin|spammer|quarantin| size| tls |for sending| virus "
    "|antivirus|daemon error|"
    /* how much */
    "too many|threshold|percentage| rate |rate limit| count:|recipient count|maximum|limit |"
    "limits |limited|exceed|"
    /* who may */
    "policy|whitelist|white list|white-list|allowlist|liste blanche|lista blanca|lista branca|"
    "lista bianca|not wish|not want";

static const struct rule rules[] = {
	/* reply codes that speak of a login, whatever "user" they do not know */
	{ 535, NO_ENHANCED, P_ALL, NULL, OUTCOME_CONFIG, ROUTE, "auth", "RFC 4954 6" },
	{ 538, NO_ENHANCED, P_ALL, NULL, OUTCOME_CONFIG, ROUTE, "auth", "RFC 4954 6" },
	{ 503, NO_ENHANCED, P_ALL, NULL, OUTCOME_CONFIG, SESSION, "config",
	    "RFC 5321 4.2.4: commands out of order; what came before says why" },
	/* what providers mean by their own codes */
	{ 0, DETAILS(7, 20, 27), P_ALL, "unauthenticated|spf|dkim|dmarc|ptr|authenticat|reverse",
	    OUTCOME_CONFIG, ROUTE, "auth", "Gmail 5.7.25-27; RFC 7372" },
	{ 0, DETAIL(7, 28), P_ALL, NULL, OUTCOME_BLOCK, ROUTE, "rate",
	    "Gmail 4.7.28; IANA X.7.28 mail flood" },
	{ 0, DETAILS(7, 29, 32), P_ALL, NULL, OUTCOME_CONFIG, ROUTE, "auth",
	    "Gmail X.7.29-32: TLS, DKIM, DMARC" },
	{ 5, DETAIL(7, 509), P_ALL, NULL, OUTCOME_CONFIG, ROUTE, "auth",
	    "Microsoft 5.7.509 DMARC" },
	{ 0, DETAIL(7, 515), P_ALL, NULL, OUTCOME_CONFIG, ROUTE, "auth", "Microsoft 5.7.515" },
	{ 4, DETAILS(7, 500, 899), P_ALL, NULL, OUTCOME_BLOCK, ROUTE, "rate",
	    "Microsoft 4.7.500-899" },
	{ 5, DETAILS(7, 500, 899), P_ALL, NULL, OUTCOME_BLOCK, ROUTE, "reputation",
	    "Microsoft 5.7.511, 5.7.606-649" },
	{ 0, NO_ENHANCED, P_ALL, "[tss0|[tss1|[ts01]|[ts02]|[ts03]|[ipts0", OUTCOME_BLOCK, ROUTE,
	    "rate", "Yahoo TSS, TS, IPTS" },
	{ 0, NO_ENHANCED, P_ALL, "[bl2|[bl3|(s3140)|(s3150)|(s775)|(s3114)|(s3115)", OUTCOME_BLOCK,
	    ROUTE, "reputation", "Yahoo BL, Microsoft S-numbers" },
	{ 0, NO_ENHANCED, P_ALL,
	    "receiving mail too quickly|receiving mail at a rate|receiving too many messages|"
	    "recipientthrottled|message receive limit|receive limit|recipient thread limit",
	    OUTCOME_SOFT, RECIPIENT, "rate",
	    "Gmail 450 4.2.1, Exchange STOREDRV 432 4.3.2: one mailbox" },
	{ 0, NO_ENHANCED, P_ALL,
	    "frequency limited|maximum sending rate|daily message quota|throttl", OUTCOME_BLOCK,
	    ROUTE, "rate", "QQ; SES 454" },
	{ 0, NO_ENHANCED, P_ALL,
	    "resolver.rst.auth|resolver.rst.sender|resolver.rst.notauth|delivery restriction "
	    "check|only accepts messages from|only accepts mail from|only accepts email from|"
	    "only accept mail from|accepts mail only from|"
	    "to send to this recipient|to send to this mailbox|to send to this user|"
	    "to send to the recipient",
	    OUTCOME_BLOCK, RECIPIENT, "policy",
	    "Exchange, Domino mail rules: who may write to an address" },
	{ 0, NO_ENHANCED, P_ALL, "aup#", OUTCOME_BLOCK, ROUTE, "reputation",
	    "Charter, Spectrum: AUP#In-1310 and its sisters" },
	{ 0, NO_ENHANCED, P_ALL, "email address is not verified", OUTCOME_CONFIG, ROUTE, "config",
	    "SES 554" },

	/* words that leave no doubt */
	{ 0, NO_ENHANCED, P_ALL,
	    "malformed or unexpected name server reply|host not found, try again|"
	    "name service error * try again|temporary failure in name|temporary dns|"
	    "dns timeout|servfail|temporarily unable to resolve|temporary lookup failure|"
	    "dns * temporar|dns server failure|lookup did not complete|unable to get mx "
	    "info|failed to get ips|i/o timeout",
	    OUTCOME_SOFT, RECIPIENT, "network",
	    "words: the name server's fault, whatever the code" },
	{ 0, NO_ENHANCED, P_ALL,
	    "deferred: connection|deferred: operation timed|deferred: network|deferred: no route",
	    OUTCOME_SOFT, RECIPIENT, "network", "words: Sendmail's queue" },
	{ 0, NO_ENHANCED, P_ALL,
	    "may not exist, or|may not exist, they|may not have permission|existiert "
	    "möglicherweise nicht|"
	    "n'existe peut-être pas|es posible que * no exista|potrebbe non esistere|"
	    "pode não existir|возможно, не существует|権限がない可能性|可能不存在|않을 수 있",
	    OUTCOME_SOFT, RECIPIENT, "undefined", "Google Groups, Axigen: a guess is no evidence" },
	{ 0, NO_ENHANCED, P_ALL,
	    "greylist|graylist|grey-list|gray-list|grey listed|gray listed|greet-pause",
	    OUTCOME_SOFT, RECIPIENT, "greylisted", "RFC 6647" },
	{ 0, NO_ENHANCED, P_ALL,
	    "spamhaus|spamcop|barracudacentral|sorbs|uceprotect|mailspike|blocked using|"
	    "blacklist|blocklist|block list|black list|listed at|listed in dns|dnsbl|"
	    " rbl |rbl.|banned sending ip|poor reputation|bad reputation|low reputation|"
	    "reputation of|ip reputation|domain reputation|sender reputation|"
	    "reputation score|sender score|senderscore|open relay|"
	    "no access from mail server|client host * blocked|client * blocked|"
	    "host * blocked|ip * blocked|your ip|ip address * rejected|"
	    "ip address * refused|server * blocked|is blocked by|blocked by our *list|"
	    "dynamic ip|dynamic address|dialup|dial-up|dynamic pool|residential ip|"
	    "server access * forbidden|temporarily deferred due to unexpected|"
	    "deferred due to user complaints|connection refused by|bad sender ip|"
	    "suspicious ip|not allowed to send mail from|banned for|on our block|"
	    "policy reasons * ip|ipcheck.|blocked - see http|from your network|"
	    "for your network|your network is|sending host|sending server|connecting host",
	    OUTCOME_BLOCK, ROUTE, "reputation", "words" },
	{ 0, NO_ENHANCED, P_ALL,
	    "rdns|reverse dns|ptr record|no ptr|missing ptr|does not have a reverse|"
	    "no reverse|reverse hostname|reverse lookup|cannot find your hostname|"
	    "cannot find your reverse|can't resolve your|cannot resolve your|"
	    "could not resolve your|hostname does not resolve|fix reverse|ptr lookup",
	    OUTCOME_CONFIG, ROUTE, "auth", "words: our reverse DNS" },
	{ 0, NO_ENHANCED, P_ALL, "添付ファイルの容量|添付ファイルのサイズ|1通あたり|１通あたり",
	    OUTCOME_MESSAGE, MESSAGE, "too_large", "words: the size of one mail" },
	{ 0, NO_ENHANCED, P_RCPT | P_LATE,
	    "mailbox full|mailbox is full|mailbox * full|full mailbox|mailbox quota|"
	    "quota exceeded|quota has been exceeded|quota full|quota * exceeded|"
	    "exceeded * quota|exceeds * quota|exceed * quota|over quota|overquota|"
	    "over * quota|out of quota|quota violation|diskquota|disk quota|"
	    "quotaexceeded|exceeded storage|exceeds allocated storage|out of storage|"
	    "storage * exceeded|storage limit|storage allocation|is over the quota|"
	    "has exceeded its disk|exceeded its disk|not enough disk|not enough storage|"
	    "insufficient disk|insufficient storage|does not have enough|"
	    "mailbox size limit|mailbox exceeds|mailbox * exceeded|mailbox * limit|"
	    "mail box space|space not enough|not enough space|no space left on mailbox|"
	    "mailfolder is full|folder is full|too much mail data|inbox is full|"
	    "inbox * full|user is over|account is full|account is over|"
	    "mailbox is too large|too many messages in * mailbox|maildir over|"
	    "user has too many messages|reached its maximum size|reached its quota|"
	    "insufficient mailbox|mailbox space|storage is full|storage space|"
	    "reached * quota|storage quota|mail quota|over its quota|over their quota|"
	    "exceeded the local limit|mailbox reached|remaining space|space left in|"
	    "overdrawn|has no space|no space left in|no space left for" FOREIGN_FULL,
	    OUTCOME_SOFT, RECIPIENT, "mailbox_full", "words; 552 in RFC 5321 4.2.3" },
	/* sentences that hold words of a lost address, and are about something else */
	{ 0, NO_ENHANCED, P_ALL,
	    "unknown error|unknown reason|unbekannter fehler|unbekannter grund|erreur inconnue|"
	    "raison inconnue|error desconocido|erro desconhecido|errore sconosciuto|"
	    "onbekende fout|okänt fel|ukjent feil|ukendt fejl|tuntematon virhe|nieznany błąd|"
	    "neznámá chyba|ismeretlen hiba|bilinmeyen hata|неизвестная ошибка|невідома помилка|"
	    "άγνωστο σφάλμα|不明なエラー|原因不明|未知错误|未知錯誤|알 수 없는 오류",
	    OUTCOME_SOFT, RECIPIENT, "undefined", "words: the cause is unknown, not the user" },
	{ 0, NO_ENHANCED, P_ALL,
	    "helo command rejected|helo name|invalid helo|bad helo|helo rejected|ehlo rejected|"
	    "in helo|in ehlo|helo * invalid|helo hostname|helo/ehlo|invalid ehlo|helo access "
	    "denied",
	    OUTCOME_CONFIG, ROUTE, "config", "words: our name in EHLO" },
	{ 0, NO_ENHANCED, P_ALL,
	    "command not recogni|command is not recogni|command unrecogni|unrecognized command|"
	    "unrecognised command|command not implemented|command is disabled|"
	    "bad sequence of commands|syntax error in parameters|syntax error, command|"
	    "command syntax|improper use of smtp|synchronization error|esmtp not supported",
	    OUTCOME_CONFIG, SESSION, "config", "words: our commands" },
	{ 0, NO_ENHANCED, P_ALL,
	    "must issue a starttls|tls required|requires tls|require tls|tls is required|"
	    "requires encryption|encryption required|encryption needed|session encryption is|"
	    "ssl required|secure connection required|authentication required|"
	    "authentication is required|must authenticate",
	    OUTCOME_CONFIG, ROUTE, "auth", "words: TLS asked for" },
	{ 0, NO_ENHANCED, P_ALL,
	    "tls handshake|tls negotiation|cannot start tls|starttls failed|tls failed|"
	    "certificate not verified|"
	    "tls not available|tls is not available|certificate verif|certificate not trusted|"
	    "untrusted certificate|certificate * expired|certificate * match|ssl connect|"
	    "mta-sts|dane |tlsa |tls is disabled|no shared cipher|ssl handshake",
	    OUTCOME_SOFT, RECIPIENT, "network", "words: TLS failed" },
	{ 0, NO_ENHANCED, P_ALL,
	    "too many hops|mail loop|loops back|routing loop|forwarding loop|delivery loop|"
	    "hop count|looping|loop detected|message is looping|mail forwarding loop|"
	    "maximum hop|received too "
	    "many|メールループ|配送ループ|転送ループ|ループして|ループを検出|mailschleife|boucle|"
	    "bucle|petla|zapętl|"
	    "зациклива|цикл",
	    OUTCOME_SOFT, RECIPIENT, "network", "words: a loop" },
	{ 0, NO_ENHANCED, P_ALL,
	    "unknown users|invalid users|too many invalid|too many bad|too many unknown|too many "
	    "nonexistent|"
	    "too many non-existent|too many errors|too many recipients|too many failed|"
	    "too many rcpt|too many envelope recipients|number of invalid recipients|"
	    "directory harvest",
	    OUTCOME_BLOCK, ROUTE, "rate", "words: what we did in this session" },
	{ 0, NO_ENHANCED, P_ALL,
	    "your account * disabled|your account * suspended|your account * blocked|"
	    "your account * locked|your account * limit|sender account|sender's account|"
	    "sending account|sending * disabled|sending * suspended|sending * paused|"
	    "not allowed to send|not authorized to send|not authorised to send|"
	    "not permitted to send|account is not allowed to send|your domain * not|"
	    "your domain is not|sender's domain|sending domain|mail from your domain|"
	    "envelope from|helo domain|verification failed for <>|sender callback|"
	    "sender callout|account of sender|sender * suspended~ disabled~ locked|"
	    "from address" FOREIGN_SENDER,
	    OUTCOME_CONFIG, ROUTE, "config", "words: our account, address or domain" },
	{ 0, NO_ENHANCED, P_ALL,
	    "header contains|header field|header line|header from:|from header|in header|"
	    "in the header|headers fail",
	    OUTCOME_MESSAGE, MESSAGE, "content", "words: an address in the header" },
	{ 0, NO_ENHANCED, P_RCPT | P_LATE,
	    "temporarily disabled|temporarily suspended|temporarily inactive|temporarily blocked|"
	    "temporarily locked|temporarily closed|temporarily deactivated|"
	    "mailbox temporarily|mailbox is temporarily|mailbox * temporarily unavailable|"
	    "account is temporarily|account * temporarily|user is temporarily|"
	    "temporarily unable to receive|temporarily over|vorübergehend|temporairement|"
	    "temporalmente|temporaneamente|temporariamente|tijdelijk|tymczasowo|временно|"
	    "一時的に|一時停止|暂时|暫時|일시적",
	    OUTCOME_SOFT, RECIPIENT, "system", "words: not for good, whatever the code" },
	{ 0, NO_ENHANCED, P_ALL,
	    "spf check|spf fail|spf validation|spf record|spf:|(spf)|does not designate|"
	    "not pass spf|pass spf|dmarc|dkim|unauthenticated email|sender policy framework|"
	    "authentication checks|softfail|sender id|spf hard|not authorized by the domain",
	    OUTCOME_CONFIG, ROUTE, "auth", "words: who we say we are" },
	{ 0, NO_ENHANCED, P_ALL,
	    "message expired|delivery time expired|envelope expired|delivery expired|"
	    "in the queue too long|in queue too long|queue too long|message was too old|"
	    "could not be delivered for more than|not be delivered within|not delivered within|"
	    "delivery failed * attempts|failed after * attempts" FOREIGN_EXPIRED,
	    OUTCOME_SOFT, RECIPIENT, "expired", "words: somebody tried for days" },
	{ 0, NO_ENHANCED, P_ALL,
	    "looks like spam|classified as spam|detected as spam|identified as spam|spam firewall|"
	    "spam detected|considered spam|marked as spam|spam content|spam scale|scored too high|"
	    "suspicion of spam|contains a virus|attachment type|attachment * not permitted|"
	    "attachment * not allowed|blacklisted url|blacklisted link|surbl|uribl|url in "
	    "message|contains malware|"
	    "contains virus|virus detected|virus found|infected with|ウイルスが検出|"
	    "ウィルスが検出|迷惑メールと判定",
	    OUTCOME_MESSAGE, MESSAGE, "content", "words: about the content" },
	{ 0, NO_ENHANCED, P_ALL,
	    "due to policy|policy restriction|policy violation|policy reasons|for policy|"
	    "violates our policy|violation of policy|administrative prohibition|"
	    "administratively prohibited|administratively denied|administrative block|"
	    "blocked by policy|rejected by policy|refused by policy|email policy|"
	    "no smtp service|mail filter|filtering program|sender filter|unknown-sender|unknown "
	    "senders|"
	    "受信拒否|受信を拒否|ポリシーにより|ポリシー違反|richtlinie|règles de "
	    "sécurité|政策|политик",
	    OUTCOME_BLOCK, RECIPIENT, "policy", "words: policy beside a code of a lost address" },

	/* the address */
	{ 0, NO_ENHANCED, P_RCPT | P_LATE,
	    "relay access denied|relaying is disabled|relay is disabled|relaying denied|relay "
	    "denied|relay not permitted|"
	    "unable to relay|not permitted to relay|we do not relay|relaying not allowed|"
	    "relay not allowed|rcpthosts|no relaying|relaying prohibited|not a relay|"
	    "relaying mail|relay * not allowed|relay operation rejected|"
	    "not an open relay|isn't allowed to be relayed|cannot relay|relay access",
	    OUTCOME_CONFIG, RECIPIENT, "config", "words: the host does not serve this domain" },
	{ 0, NO_ENHANCED, P_RCPT | P_LATE,
	    "deactivated mailbox|account is disabled|account disabled|"
	    "account has been disabled|account * disabled|mailbox * disabled|"
	    "mailbox disabled|disabled or discontinued|user disabled|is disabled|"
	    "been disabled|account is inactive|account inactive|account * inactive|"
	    "mailbox is inactive|mailbox inactive|mailbox * inactive|inactive account|"
	    "inactive user|inactive mailbox|account has been suspended|"
	    "account * suspended|account suspended|user * suspended|mailbox * suspended|"
	    "been suspended|is suspended|recipient suspended|recipient * suspended|account * "
	    "locked|mailbox * locked|"
	    "mailbox is frozen|account * frozen|account closed|account * closed|"
	    "account * terminated|been deactivated|is deactivated|account expired|"
	    "account has expired|mailbox expired|no longer active|no longer in use|"
	    "no longer in service|no longer available|no longer valid|no longer exists|"
	    "user inactive|not active|usage restricted|no longer accepts mail|"
	    "no longer accepting|account has been deleted|account * deleted|"
	    "mailbox * deleted|has been deleted|due to inactivity|dormant|"
	    "account cancelled|account canceled|account * blocked|mailbox * blocked|"
	    "account has been closed|mailbox closed|mailbox is closed|account removed|"
	    "account has been removed|mailbox has been removed|account is not active|"
	    "no longer receives|no longer receiving|no longer has|mailbox * discontinued|"
	    "been discontinued|is discontinued|been terminated|permanently closed|"
	    "permanently disabled|been retired|been decommissioned|is defunct|"
	    "mailbox * was closed~ is closed~ has been closed~ terminated~ was deleted~ is deleted|"
	    "mailbox terminated|account terminated|mailbox deleted|account deleted|"
	    "account * was closed~ was deleted~ was removed|user * was deleted~ was "
	    "removed|closed the mailbox|closed the account|closed this mailbox|closed this account|"
	    "closed his account|closed their account|" NAME_CLOSED FOREIGN_CLOSED,
	    OUTCOME_HARD, RECIPIENT, "mailbox_disabled", "words" },
	{ 0, NO_ENHANCED, P_RCPT | P_LATE,
	    "has moved|user moved|mailbox moved|moved to another|"
	    "no longer at this address|address has changed|no longer works here|"
	    "has left the company|left our company|has left our|has retired|please update your "
	    "address book|new address is|"
	    "has changed * address|no longer employed",
	    OUTCOME_HARD, RECIPIENT, "moved", "words; 551 in RFC 5321 3.4" },
	{ 0, NO_ENHANCED, P_MAIL | P_RCPT | P_LATE,
	    "sender address rejected|sender domain|domain of sender|sender rejected|"
	    "sender denied|sender refused|mail from domain|verify sender|sender verify|"
	    "sender * not verified|invalid sender|bad sender|sender address * invalid|"
	    "sender is not|sender * not allowed|sender unknown|unknown sender|"
	    "unresolvable * from domain|from domain|return path|envelope sender|"
	    "sender's address|sender address",
	    OUTCOME_CONFIG, ROUTE, "config", "words: our sender address" },
	{ 0, NO_ENHANCED, P_RCPT | P_LATE,
	    "no such domain|^host * not found|failure: host * not found|550 host * not found|"
	    "host name not found|domain not found|domain name not found|host not found|"
	    "host unknown|unknown host|nxdomain|unknown domain|domain unknown|"
	    "domain does not exist|domain * does not exist|domain * doesn't exist|"
	    "domain * couldn't be found|domain * could not be found|domain * not found|"
	    "bad destination host|bad destination system|invalid domain|"
	    "does not accept mail|doesn't accept mail|does not accept email|"
	    "do not accept mail|nullmx|null mx|domain is not reachable|"
	    "unrouteable mail domain|unroutable mail domain|"
	    "all relevant mx records point|no mx * for|no mx or|couldn't find any host|"
	    "couldn't find a mail exchanger|no mail exchanger|no dns information|"
	    "recipient domain * exist|no host * found|cannot find a host|"
	    "no mail servers appear to exist|no matches to nameserver|"
	    "550 host * unknown|domain is inactive|host or domain name not found|unable to find "
	    "host|"
	    "invalid recipient domain|recipient domain invalid|unknown recipient domain|"
	    "recipient domain not|no such host|domain * not exist|has no mx" FOREIGN_UNKNOWN_DOMAIN,
	    OUTCOME_HARD, RECIPIENT, "domain_unknown", "words; RFC 7505" },
	{ 0, NO_ENHANCED, P_RCPT | P_LATE, USER_UNKNOWN, OUTCOME_HARD, RECIPIENT, "user_unknown",
	    "words" },
	{ 0, NO_ENHANCED, P_ALL,
	    "message too large|message too big|message * too large|message * too big|"
	    "message size exceeds|message size|maximum message size|max message size|"
	    "exceeds size limit|exceeds maximum|exceeds the maximum|size limit|"
	    "exceeds fixed limit|message file too big|message length exceeds|"
	    "larger than the|too large for|size exceeded|exceeds * "
	    "size" FOREIGN_TOO_LARGE,
	    OUTCOME_MESSAGE, MESSAGE, "too_large", "words; RFC 1870 6.1" },
	{ 0, NO_ENHANCED, P_ALL,
	    "too many connections|too many messages|too many recipients|sent to too many|"
	    "too many concurrent|rate limit|rate-limit|ratelimit|rate * limited|"
	    "unusual rate|unusual traffic|connection rate|sending too|sent too many|"
	    "exceeded the maximum number|max messages|too fast|too quickly|"
	    "number of messages|too many sessions|too many errors|too many emails|"
	    "too many mails|sending limit|sending rate|limit * exceeded|message limit|"
	    "hourly limit|daily limit|emails per hour|messages per hour|mails per hour|"
	    "failures per hour|emails per day|messages per day",
	    OUTCOME_BLOCK, ROUTE, "rate", "words" },
	{ 0, NO_ENHANCED, P_ALL,
	    "spf check|spf fail|spf validation|spf record|spf:|(spf)|does not designate|"
	    "not pass spf|dkim|dmarc|unauthenticated email|authentication checks|"
	    "not authenticated|sender id|forged|spoof",
	    OUTCOME_CONFIG, ROUTE, "auth", "words" },
	{ 0, NO_ENHANCED, P_ALL,
	    "message expired|delivery time expired|envelope expired|"
	    "retry timeout exceeded|retry time not reached|message was too old|too old|"
	    "been in the queue too long|in queue too long|queue too long|gave up|"
	    "could not be delivered for|multiple retries|message timed out|"
	    "delivery timed out|maximum time|not be delivered within|"
	    "unable to deliver this message after|delivery expired|queue period|lifetime|"
	    /* qmail ends every notice with "Giving up on HOST." */
	    "all attempts|giving up.|giving up after|giving up now|am giving up|for too "
	    "long" FOREIGN_EXPIRED,
	    OUTCOME_SOFT, RECIPIENT, "expired", "words" },
	{ 0, NO_ENHANCED, P_ALL,
	    "looks like spam|classified as spam|spam detected|detected as spam|"
	    "spam message|considered spam|spam content|spam pattern|spam filter|"
	    "spam points|anti-spam|antispam|is spam|as spam|spam score|spam-id|"
	    "spamassassin|spam * rejected|rejected * spam|spam engine|unsolicited|virus|"
	    "malware|trojan|infected|banned:|content rejected|message content|spam not accepted|"
	    "(spam)|- spam|content denied|junk mail|phishing|likely suspicious|"
	    "suspicious content|banned content|prohibited attachment|"
	    "attachment * not allowed|blocked attachment|banned file|content policy|"
	    "contained * banned|header * invalid|malformed message|not rfc|rfc 5322|"
	    "rfc5322|message rejected as|objectionable|potential security|mail content|suspected "
	    "spam|"
	    "spam-verdacht|content filter|content restriction" FOREIGN_CONTENT,
	    OUTCOME_MESSAGE, MESSAGE, "content", "words" },

	/* reply codes of one meaning */
	{ 530, NO_ENHANCED, P_ALL, NULL, OUTCOME_CONFIG, ROUTE, "auth", "RFC 4954 6" },
	{ 521, NO_ENHANCED, P_RCPT | P_LATE, NULL, OUTCOME_BLOCK, RECIPIENT, "policy",
	    "RFC 7504; but some providers block with it, AOL as 521 5.2.1: hard only by its "
	    "words" },

	/* enhanced codes: RFC 3463, RFC 5248 registry */
	{ 0, DETAIL(1, 0), P_RCPT | P_LATE, "address rejected", OUTCOME_HARD, RECIPIENT,
	    "user_unknown", "Cisco 5.1.0" },
	{ 0, DETAIL(1, 1), P_RCPT | P_LATE, NULL, OUTCOME_HARD, RECIPIENT, "user_unknown",
	    "RFC 3463 X.1.1" },
	{ 0, DETAIL(1, 2), P_RCPT | P_LATE, NULL, OUTCOME_HARD, RECIPIENT, "domain_unknown",
	    "RFC 3463 X.1.2" },
	{ 0, DETAILS(1, 3, 4), P_RCPT | P_LATE, NULL, OUTCOME_HARD, RECIPIENT, "bad_address",
	    "RFC 3463 X.1.3, X.1.4" },
	{ 0, DETAIL(1, 6), P_RCPT | P_LATE, NULL, OUTCOME_HARD, RECIPIENT, "moved",
	    "RFC 3463 X.1.6" },
	{ 0, DETAILS(1, 7, 8), P_ALL, NULL, OUTCOME_CONFIG, ROUTE, "config",
	    "RFC 3463 X.1.7, X.1.8" },
	{ 0, DETAIL(1, 10), P_RCPT | P_LATE, NULL, OUTCOME_HARD, RECIPIENT, "domain_unknown",
	    "RFC 7505 X.1.10" },
	{ 0, DETAIL(1, 351), P_RCPT | P_LATE, NULL, OUTCOME_HARD, RECIPIENT, "user_unknown",
	    "Microsoft 5.1.351" },
	{ 0, DETAIL(2, 1), P_RCPT | P_LATE, NULL, OUTCOME_HARD, RECIPIENT, "mailbox_disabled",
	    "RFC 3463 X.2.1" },
	{ 0, DETAIL(2, 2), P_RCPT | P_LATE, NULL, OUTCOME_SOFT, RECIPIENT, "mailbox_full",
	    "RFC 3463 X.2.2: also when 5.2.2" },
	{ 0, DETAIL(2, 3), P_ALL, NULL, OUTCOME_MESSAGE, MESSAGE, "too_large", "RFC 3463 X.2.3" },
	{ 0, SUBJECT(2), P_RCPT | P_LATE, NULL, OUTCOME_SOFT, RECIPIENT, "undefined",
	    "RFC 3463 X.2.x" },
	{ 0, DETAIL(3, 4), P_ALL, NULL, OUTCOME_MESSAGE, MESSAGE, "too_large", "RFC 3463 X.3.4" },
	{ 0, DETAIL(3, 3), P_ALL, NULL, OUTCOME_CONFIG, MESSAGE, "config", "RFC 3463 X.3.3" },
	{ 0, SUBJECT(3), P_ALL, NULL, OUTCOME_SOFT, SESSION, "system", "RFC 3463 X.3.x" },
	{ 5, DETAIL(4, 4), P_RCPT | P_LATE, NULL, OUTCOME_HARD, RECIPIENT, "domain_unknown",
	    "RFC 3463 5.4.4" },
	{ 0, DETAIL(4, 5), P_ALL, NULL, OUTCOME_SOFT, SESSION, "system", "RFC 3463 X.4.5" },
	{ 0, DETAIL(4, 6), P_ALL, NULL, OUTCOME_SOFT, RECIPIENT, "network",
	    "RFC 3463 X.4.6: loop" },
	{ 0, DETAIL(4, 7), P_ALL, NULL, OUTCOME_SOFT, RECIPIENT, "expired", "RFC 3463 X.4.7" },
	{ 0, SUBJECT(4), P_ALL, NULL, OUTCOME_SOFT, RECIPIENT, "network", "RFC 3463 X.4.x" },
	{ 0, DETAIL(5, 3), P_ALL, NULL, OUTCOME_SOFT, SESSION, "rate",
	    "RFC 3463 X.5.3: too many recipients" },
	{ 5, SUBJECT(5), P_ALL, NULL, OUTCOME_CONFIG, SESSION, "config", "RFC 3463 5.5.x" },
	{ 4, SUBJECT(5), P_ALL, NULL, OUTCOME_SOFT, SESSION, "system", "RFC 3463 4.5.x" },
	{ 0, DETAIL(6, 7), P_RCPT | P_LATE, NULL, OUTCOME_CONFIG, RECIPIENT, "smtputf8_unsupported",
	    "RFC 6531 X.6.7" },
	{ 0, SUBJECT(6), P_ALL, NULL, OUTCOME_MESSAGE, MESSAGE, "content", "RFC 3463 X.6.x" },
	{ 0, DETAIL(7, 2), P_RCPT | P_LATE, NULL, OUTCOME_BLOCK, RECIPIENT, "policy",
	    "RFC 3463 X.7.2: a list that we may not write to; it exists" },
	{ 0, DETAIL(7, 13), P_RCPT | P_LATE, NULL, OUTCOME_HARD, RECIPIENT, "mailbox_disabled",
	    "RFC 5248 X.7.13" },
	{ 0, DETAILS(7, 17, 18), P_RCPT | P_LATE, NULL, OUTCOME_HARD, RECIPIENT, "moved",
	    "RFC 7293 X.7.17, X.7.18" },
	{ 0, DETAILS(7, 15, 16), P_ALL, NULL, OUTCOME_SOFT, RECIPIENT, "policy", "RFC 6710" },
	{ 0, DETAIL(7, 19), P_ALL, NULL, OUTCOME_SOFT, RECIPIENT, "system", "RFC 7293 X.7.19" },
	{ 0, DETAIL(7, 27), P_ALL, NULL, OUTCOME_CONFIG, ROUTE, "config", "RFC 7505 X.7.27" },
	{ 0, DETAILS(7, 20, 26), P_ALL, NULL, OUTCOME_CONFIG, ROUTE, "auth", "RFC 7372" },
	{ 0, DETAIL(7, 9), P_LATE | P_RCPT, NULL, OUTCOME_BLOCK, RECIPIENT, "policy",
	    "Yahoo 5.7.9" },
	{ 0, DETAILS(7, 8, 14), P_ALL, NULL, OUTCOME_CONFIG, ROUTE, "auth", "RFC 4954, RFC 5248" },
	{ 0, DETAIL(7, 30), P_ALL, NULL, OUTCOME_CONFIG, ROUTE, "auth", "RFC 8689" },
	{ 0, DETAILS(7, 3, 7), P_SESSION | P_MAIL, NULL, OUTCOME_CONFIG, ROUTE, "config",
	    "RFC 3463 X.7.3 - X.7.7" },
	{ 0, SUBJECT(7), P_SESSION | P_MAIL, NULL, OUTCOME_BLOCK, ROUTE, "policy",
	    "RFC 3463 X.7.x" },
	{ 0, SUBJECT(7), P_ALL, NULL, OUTCOME_BLOCK, RECIPIENT, "policy", "RFC 3463 X.7.x" },

	/* weaker words */
	{ 0, NO_ENHANCED, P_ALL,
	    "policy|not allowed|denied|prohibited|security|blocked|refused by|restricted|"
	    "not authorized|not permitted|no permission|forbidden|not welcome|"
	    "administratively|not accepting mail from|rejected your message|拒否",
	    OUTCOME_BLOCK, RECIPIENT, "policy", "words" },
	{ 0, NO_ENHANCED, P_ALL, "authentication required|must authenticate|starttls",
	    OUTCOME_CONFIG, ROUTE, "auth", "words" },
	{ 0, NO_ENHANCED, P_ALL,
	    "timed out|connection refused|no route|name service error|"
	    "network is unreachable|unreachable|not reachable|could not connect|"
	    "couldn't connect|unable to connect|failed connect|"
	    "did not accept our requests|lost connection|connection reset|"
	    "connection dropped|connection * dropped|connection closed|connection * failed|smtp "
	    "connection|"
	    "not responding|no response|no answer|network error|network problem|dns error|dns "
	    "query failed|dns lookup|"
	    "dns failure|socket error|too many hops|hop count|mail loop|loops back|"
	    "routing loop|looping|delivery loop|forwarding loop|tls handshake|"
	    "tls is required|tls not available|certificate|conversation with|"
	    "could not initiate|timeout" FOREIGN_NETWORK,
	    OUTCOME_SOFT, RECIPIENT, "network", "words" },
	{ 0, NO_ENHANCED, P_ALL,
	    "out of memory|local error|internal error|internal server error|system error|"
	    "system config|configuration error|disk full|no space left|i/o error|"
	    "read-only|can't create|cannot create|cannot open|can't open|cannot write|"
	    "unable to lock|lock failed|mailer error|command died|exit status|exitcode|"
	    "local delivery failed|error opening|error writing|temporary problem|"
	    "temporary failure|temporarily unavailable|try again later|try later|"
	    "system not accepting|insufficient system|remote protocol error|"
	    "unexpected exception|processing error",
	    OUTCOME_SOFT, RECIPIENT, "system", "words" },
	{ 0, NO_ENHANCED, P_ALL, "spam", OUTCOME_MESSAGE, MESSAGE, "content", "words" },

	/* bare reply codes: RFC 5321 4.2, by phase */
	{ 421, NO_ENHANCED, P_ALL, NULL, OUTCOME_SOFT, SESSION, "system", "RFC 5321 3.8, 4.2.3" },
	{ 454, NO_ENHANCED, P_SESSION, NULL, OUTCOME_SOFT, ROUTE, "auth", "RFC 3207, RFC 4954" },
	{ 556, NO_ENHANCED, P_RCPT | P_LATE, NULL, OUTCOME_HARD, RECIPIENT, "domain_unknown",
	    "RFC 7504" },
	{ 551, NO_ENHANCED, P_RCPT, NULL, OUTCOME_HARD, RECIPIENT, "moved", "RFC 5321 3.4" },
	{ 452, NO_ENHANCED, P_ALL, NULL, OUTCOME_SOFT, SESSION, "system", "RFC 5321 4.2.3" },
	{ 552, NO_ENHANCED, P_RCPT, NULL, OUTCOME_SOFT, RECIPIENT, "mailbox_full",
	    "RFC 5321 4.2.3, 4.5.3.1.10" },
	{ 552, NO_ENHANCED, P_MAIL | P_LATE, NULL, OUTCOME_MESSAGE, MESSAGE, "too_large",
	    "RFC 1870 6" },
	{ 500, NO_ENHANCED, P_ALL, NULL, OUTCOME_CONFIG, SESSION, "config", "RFC 5321 4.2.4" },
	{ 501, NO_ENHANCED, P_RCPT, NULL, OUTCOME_BLOCK, RECIPIENT, "bad_address",
	    "RFC 5321 4.2.4: hard only by its words" },
	{ 501, NO_ENHANCED, P_ALL, NULL, OUTCOME_CONFIG, SESSION, "config", "RFC 5321 4.2.4" },
	{ 502, NO_ENHANCED, P_ALL, NULL, OUTCOME_CONFIG, SESSION, "config", "RFC 5321 4.2.4" },
	{ 504, NO_ENHANCED, P_ALL, NULL, OUTCOME_CONFIG, SESSION, "config", "RFC 5321 4.2.4" },
	{ 555, NO_ENHANCED, P_ALL, NULL, OUTCOME_CONFIG, SESSION, "config", "RFC 5321 4.1.1.11" },
	{ 5, NO_ENHANCED, P_SESSION, NULL, OUTCOME_BLOCK, ROUTE, "policy", "RFC 5321 3.1" },
	{ 5, NO_ENHANCED, P_MAIL, NULL, OUTCOME_BLOCK, ROUTE, "policy", "RFC 5321 3.3" },
	{ 5, NO_ENHANCED, P_RCPT, NULL, OUTCOME_BLOCK, RECIPIENT, "policy",
	    "RCPT refused without code or known words: not evidence against the address" },
	{ 5, NO_ENHANCED, P_LATE, NULL, OUTCOME_BLOCK, RECIPIENT, "policy", "RFC 5321 3.3" },
	{ 4, NO_ENHANCED, P_SESSION, NULL, OUTCOME_SOFT, ROUTE, "system", "RFC 5321 4.2.1" },
	{ 4, NO_ENHANCED, P_MAIL, NULL, OUTCOME_SOFT, SESSION, "system", "RFC 5321 4.2.1" },
	{ 4, NO_ENHANCED, P_RCPT | P_LATE, NULL, OUTCOME_SOFT, RECIPIENT, "system",
	    "RFC 5321 4.2.1" },
	{ 0, NO_ENHANCED, P_ALL, NULL, OUTCOME_SOFT, RECIPIENT, "undefined", "nothing known" },
};

#define RULES (sizeof(rules) / sizeof(rules[0]))

enum { NOT_NOW = RULES, NOT_THE_ADDRESS, LISTS };

/* The words of rule i are list i, these two behind them. Constant once they are compiled. */
static struct phrases phrases;
static once_flag is_compiled = ONCE_FLAG_INIT;

static void
compile(void)
{
	bool fits = phrases_add(&phrases, NOT_NOW, not_now) &&
	    phrases_add(&phrases, NOT_THE_ADDRESS, not_the_address);

	for (size_t i = 0; fits && i < RULES; i++)
		fits = phrases_add(&phrases, i, rules[i].words);
	if (!fits)
		abort(); /* the rules do not fit PHRASES_MAX */
}

static unsigned
phase_bit(enum outcome_phase phase)
{
	switch (phase) {
	case OUTCOME_PHASE_CONNECT:
	case OUTCOME_PHASE_GREETING:
	case OUTCOME_PHASE_EHLO:
	case OUTCOME_PHASE_TLS:
	case OUTCOME_PHASE_AUTH:
		return P_SESSION;
	case OUTCOME_PHASE_MAIL:
		return P_MAIL;
	case OUTCOME_PHASE_DATA:
	case OUTCOME_PHASE_BODY:
	case OUTCOME_PHASE_DOT:
		return P_LATE;
	case OUTCOME_PHASE_NONE:
	case OUTCOME_PHASE_RCPT:
		break;
	}
	return P_RCPT;
}

static bool
enhanced_match(const struct rule *rule, const uint16_t enhanced[3])
{
	if (rule->subject == ANY)
		return true;
	if (enhanced[0] == 0 || enhanced[1] != rule->subject)
		return false;
	return rule->detail[0] == ANY ||
	    (enhanced[2] >= rule->detail[0] && enhanced[2] <= rule->detail[1]);
}

/* The enhanced code says that it is not about the address: the content (X.6), a loop or the end of
 * a long trying (X.4.5-7); with X.7.0 and X.7.1 an unknown host is ours. */
static bool
is_about_other(const struct rule *rule, const uint16_t enhanced[3])
{
	return rule->cls == OUTCOME_HARD &&
	    (enhanced[1] == 6 || (enhanced[1] == 4 && enhanced[2] >= 5 && enhanced[2] <= 7) ||
		(enhanced[1] == 7 && enhanced[2] <= 1 && rule->subject == ANY &&
		    strcmp(rule->reason, "domain_unknown") == 0));
}

static enum outcome_scope
scope_floor(unsigned phase)
{
	return phase == P_SESSION ? ROUTE : phase == P_MAIL ? MESSAGE : RECIPIENT;
}

struct classify_verdict
classify(const struct classify_input *in)
{
	unsigned phase = phase_bit(in->phase);
	int digit = in->code != 0 ? in->code / 100 : in->enhanced[0];
	char bytes[TEXT_MAX];
	struct slice text =
	    slice_make(in->text.ptr, in->text.len < TEXT_MAX ? in->text.len : TEXT_MAX);
	struct phrases_found found;
	const struct rule *rule = rules;
	struct classify_verdict v;

	if (digit == 2)
		return (struct classify_verdict){ OUTCOME_CLASS_NONE, RECIPIENT, "undefined", "2xx",
			false };
	call_once(&is_compiled, compile);
	phrases_find(&phrases, words_normalise(text, bytes, true), &found);
	/* the last row matches everything */
	for (;; rule++) {
		if ((rule->phases & phase) == 0)
			continue;
		if (rule->code != 0 && rule->code != digit && rule->code != in->code)
			continue;
		if (!enhanced_match(rule, in->enhanced) || is_about_other(rule, in->enhanced))
			continue;
		if (rule->words == NULL || phrases_has(&found, (size_t)(rule - rules)))
			break;
	}
	v = (struct classify_verdict){ rule->cls, rule->scope, rule->reason, rule->source,
		rule->words != NULL };
	if (v.cls == OUTCOME_HARD && digit != 5 && digit != 0)
		v.cls = OUTCOME_SOFT;
	if (v.cls == OUTCOME_HARD && phrases_has(&found, NOT_NOW)) {
		v.cls = OUTCOME_SOFT;
		v.reason = "system";
	}
	if (v.cls == OUTCOME_HARD && phrases_has(&found, NOT_THE_ADDRESS)) {
		v.cls = OUTCOME_BLOCK;
		v.reason = "policy";
	}
	if (v.scope < scope_floor(phase))
		v.scope = scope_floor(phase);
	return v;
}
