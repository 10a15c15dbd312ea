/* SPDX-License-Identifier: Apache-2.0 */
/*
 * classify_user: how replies say in English that a mailbox does not exist, or no more. Most put one of a few
 * names before or behind one of a few words; USER_UNKNOWN is all of these, then what is said in
 * another way, then other languages. Lists of phrases of words.h. Addresses are taken out of the
 * text before, so "<a@b> not found" is "<> not found".
 */
#ifndef KAIRAN_CLASSIFY_USER_H
#define KAIRAN_CLASSIFY_USER_H

#include "classify_words.h"

/* clang-format off */
/* Each name with a before it and z behind it. */
#define EACH_NAME(a, z) \
	a "user" z "|" a "recipient" z "|" a "mailbox" z "|" a "account" z "|" a "address" z "|" \
	a "addressee" z "|" a "alias" z "|" a "username" z "|" a "userid" z

#define EACH_RARE_NAME(a, z) \
	a "user name" z "|" a "mail box" z "|" a "subscriber" z "|" a "customer" z "|" \
	a "receiver" z "|" a "rcpt" z

#define EACH_NAME_BEHIND(a, z) \
	a "user" z "|" a "recipient" z "|" a "mailbox" z "|" a "account" z "|" a "address" z "|" \
	a "addressee" z "|" a "alias" z "|" a "mail box" z "|" a "subscriber" z "|" \
	a "customer" z "|" a "receiver" z "|" a "rcpt" z "|" a "email address" z "|" \
	a "e-mail address" z "|" a "mail address" z "|" a "local user" z "|" a "mail user" z "|" \
	a "destination mailbox" z

#define NAME_FIRST \
	EACH_NAME("", " unknown") "|" \
	EACH_NAME("", " is unknown") "|" \
	EACH_NAME("", " was unknown") "|" \
	EACH_NAME("", " not known") "|" \
	EACH_NAME("", " is not known") "|" \
	EACH_NAME("", " not found") "|" \
	EACH_NAME("", " is not found") "|" \
	EACH_NAME("", " was not found") "|" \
	EACH_NAME("", " could not be found") "|" \
	EACH_NAME("", " cannot be found") "|" \
	EACH_NAME("", " can't be found") "|" \
	EACH_NAME("", " couldn't be found") "|" \
	EACH_NAME("", " can not be found") "|" \
	EACH_NAME("", " wasn't found") "|" \
	EACH_NAME("", " not exist") "|" \
	EACH_NAME("", " does not exist") "|" \
	EACH_NAME("", " doesn't exist") "|" \
	EACH_NAME("", " dosn't exist") "|" \
	EACH_NAME("", " do not exist") "|" \
	EACH_NAME("", " did not exist") "|" \
	EACH_NAME("", " nonexistent") "|" \
	EACH_NAME("", " non-existent") "|" \
	EACH_NAME("", " invalid") "|" \
	EACH_NAME("", " is invalid") "|" \
	EACH_NAME("", " not valid") "|" \
	EACH_NAME("", " is not valid") "|" \
	EACH_NAME("", " isn't valid") "|" \
	EACH_NAME("", " not recognized") "|" \
	EACH_NAME("", " not recognised") "|" \
	EACH_NAME("", " is not recognized") "|" \
	EACH_NAME("", " is not recognised") "|" \
	EACH_NAME("", " unrecognized") "|" \
	EACH_NAME("", " not listed") "|" \
	EACH_NAME("", " is not listed") "|" \
	EACH_NAME("", " not defined") "|" \
	EACH_NAME("", " is not defined") "|" \
	EACH_NAME("", " undefined") "|" \
	EACH_NAME("", " not registered") "|" \
	EACH_NAME("", " is not registered")

#define RARE_NAME_FIRST \
	EACH_RARE_NAME("", " unknown") "|" \
	EACH_RARE_NAME("", " is unknown") "|" \
	EACH_RARE_NAME("", " not known") "|" \
	EACH_RARE_NAME("", " is not known") "|" \
	EACH_RARE_NAME("", " not found") "|" \
	EACH_RARE_NAME("", " was not found") "|" \
	EACH_RARE_NAME("", " does not exist") "|" \
	EACH_RARE_NAME("", " doesn't exist") "|" \
	EACH_RARE_NAME("", " invalid") "|" \
	EACH_RARE_NAME("", " is invalid")

#define NAME_LAST \
	EACH_NAME_BEHIND("unknown ", "") "|" \
	EACH_NAME_BEHIND("invalid ", "") "|" \
	EACH_NAME_BEHIND("no such ", "") "|" \
	EACH_NAME_BEHIND("nonexistent ", "") "|" \
	EACH_NAME_BEHIND("non-existent ", "") "|" \
	EACH_NAME_BEHIND("non existent ", "") "|" \
	EACH_NAME_BEHIND("nonexisting ", "") "|" \
	EACH_NAME_BEHIND("bad ", "") "|" \
	EACH_NAME_BEHIND("illegal ", "") "|" \
	EACH_NAME_BEHIND("unrecognized ", "") "|" \
	EACH_NAME_BEHIND("unrecognised ", "") "|" \
	EACH_NAME_BEHIND("undefined ", "") "|" \
	EACH_NAME_BEHIND("unregistered ", "") "|" \
	EACH_NAME_BEHIND("not a valid ", "") "|" \
	EACH_NAME_BEHIND("not a known ", "") "|" \
	EACH_NAME_BEHIND("not a registered ", "") "|" \
	EACH_NAME_BEHIND("not an existing ", "") "|" \
	EACH_NAME_BEHIND("not an active ", "") "|" \
	EACH_NAME_BEHIND("no valid ", "")

/* With the name of the user, or what is left of his address, between. */
#define NAME_AND_WORD \
	"user % unknown~ is unknown~ not known~ is not known~ not found" \
	"~ was not found~ could not be found~ cannot be found~ can't be found~ not exist~ does not exist~ doesn't exist~ not listed~ is not listed~ not recognized~ is not recognized|" \
	"recipient % unknown~ is unknown~ not known~ is not known~ not found" \
	"~ was not found~ could not be found~ cannot be found~ can't be found~ not exist~ does not exist~ doesn't exist~ not listed~ is not listed~ not recognized~ is not recognized|" \
	"mailbox % unknown~ is unknown~ not known~ is not known~ not found" \
	"~ was not found~ could not be found~ cannot be found~ can't be found~ not exist~ does not exist~ doesn't exist~ not listed~ is not listed~ not recognized~ is not recognized|" \
	"account % unknown~ is unknown~ not known~ is not known~ not found" \
	"~ was not found~ could not be found~ cannot be found~ can't be found~ not exist~ does not exist~ doesn't exist~ not listed~ is not listed~ not recognized~ is not recognized|" \
	"address % unknown~ is unknown~ not known~ is not known~ not found" \
	"~ was not found~ could not be found~ cannot be found~ can't be found~ not exist~ does not exist~ doesn't exist~ not listed~ is not listed~ not recognized~ is not recognized|" \
	"alias % unknown~ is unknown~ not known~ is not known~ not found" \
	"~ was not found~ could not be found~ cannot be found~ can't be found~ not exist~ does not exist~ doesn't exist~ not listed~ is not listed~ not recognized~ is not recognized|" \
	"username % unknown~ is unknown~ not known~ is not known~ not found" \
	"~ was not found~ could not be found~ cannot be found~ can't be found~ not exist~ does not exist~ doesn't exist~ not listed~ is not listed~ not recognized~ is not recognized"

/* Said in another way, and words that were taken out of the middle of a sentence. */
#define USER_UNKNOWN_OTHERWISE \
	"nosuchuser|user * does not exist|user * doesn't exist|user * not known|" \
	"no user by that name|no local user|user * not listed|user name * not found|" \
	"user <> unknown|user () unknown|user '' unknown|recipnotfound|recipientnotfound|" \
	"recipient * does not exist|recipient * doesn't exist|recipient name is not recognized|" \
	"recipient no longer on server|recipient's email address * n't found|rcpt * dosn't exist|" \
	"rcpt * doesn't exist|rcpt * does not exist|mailbox * does not exist|" \
	"mailbox * doesn't exist|no mailbox|mailbox unavailable|mailbox is unavailable|" \
	"mailbox not available|mailbox isn't available|" \
	"account that you tried to reach does not exist|this user doesn't have a|" \
	"doesn't have an account|account * does not exist|no account|account * doesn't exist|" \
	"account unavailable|unknown local part|unknown local-part|local part * unknown|" \
	"unrouteable address|unroutable address|address * does not exist|address * doesn't exist|" \
	"address * couldn't be found|address * could not be found|address * cannot be found|" \
	"address * wasn't found|address * was not found|address * not found|" \
	"address * is not valid|address error|undeliverable address|wrong email address|" \
	"invalid final delivery userid|alias * unknown|no such person|not our customer|" \
	"not listed in|not found in * directory|not in * directory|no match in * directory|" \
	"not in our database|no match for|is not recognized|not recognised|> does not exist|" \
	"> doesn't exist|<>: no such|<>: unknown|<> unknown|<> not found|<>: not found|" \
	"<> is not known|<> is invalid|does not exist here|" \
	"recipient address rejected: access denied|recipient addresses rejected * access denied|" \
	"recipient * not exist|email * does not exist|destinataire invalide|destinataire inconnu|" \
	"utilisateur inconnu|adresse inconnue|adresse * introuvable|utilisateur introuvable|" \
	"n'existe pas|boîte inexistante|compte inexistant|unbekannter empfänger|" \
	"empfänger unbekannt|benutzer unbekannt|existiert nicht|unbekannte adresse|" \
	"empfängeradresse wurde nicht gefunden|adresse * nicht gefunden|" \
	"benutzer * nicht gefunden|postfach * nicht gefunden|usuario desconocido|" \
	"destinatario desconocido|no existe|usuario inexistente|usuario no encontrado|" \
	"dirección no encontrada|no se encontró la dirección|utente sconosciuto|" \
	"destinatario sconosciuto|non esiste|indirizzo inesistente|inesistente|" \
	"usuário desconhecido|destinatário desconhecido|não existe|endereço não encontrado|" \
	"onbekende gebruiker|bestaat niet|okänd användare|nieznany użytkownik|nie istnieje|" \
	"пользователь не найден|не существует|нет такого пользователя|пользователя нет|" \
	"неизвестный пользователь|адрес не найден|存在しません|存在しない|存在致しません|宛先不明|宛先が見つかりません|" \
	"見つかりませんでした|アドレスが間違って|アドレスに誤り|該当するユーザ|用户不存在|不存在|查无此人|查無此人|no one at this address|" \
	"nobody by that name|nobody by this name|no record of this|no record of that|" \
	"cannot find the recipient|can't find the recipient|could not find the recipient|" \
	"mailbox name not|validrcptto|no such mail|no such local|no such email|no such id|" \
	"isn't a valid|recipient address rejected: user|name not found|no such mbox|" \
	"does not have an account|has no account|no account by that name|recipient is not exist|" \
	"not a local address|not a valid e-mail|not a valid email|unknown local|not known here|" \
	"no user here|no mail box|unknown quickmail recipient|no user of that name|" \
	"no user with that name|no mailbox of that name|no mailbox with that|" \
	"no account with that name|name was not found|addresses were unknown|" \
	"addresses are unknown|not known on this|550 does not exist|550 doesn't exist|" \
	"550 not found|550 is unknown|550 unknown|account is unavailable|is not registered|" \
	"not registered here|mailbox * could not be found|no longer exist|is no longer a|" \
	"no longer with us|no one here by|address * not in use|mailbox * not in use|not known at|" \
	"is not defined|unknown at this|unknown on this|unknown to this|no such member|" \
	"no such login|unable to find * user~ recipient~ mailbox~ account~ address|" \
	"cannot find * user~ recipient~ mailbox~ account~ address|" \
	"could not find * user~ mailbox~ account~ address|" \
	"cannot locate * user~ recipient~ mailbox~ account|" \
	"unable to locate * user~ recipient~ mailbox~ account|not a mailbox here|" \
	"is not on this server|not in service|unknown destination address|is not an existing|" \
	"recipient * not recognized~ not recognised|address * not recognized~ not recognised|" \
	"user * not recognised|resolver.adr.|cuda nsu|" \
	"user * not here~ not in our~ not on file~ not on this~ never existed|" \
	"name * not in our~ not on file|recipient * not in our~ not on file~ not here|" \
	"address * not in our~ not on file~ not on this|not in our list of|" \
	"does not have a mailbox|doesn't have a mailbox|nobody here|no one here|no such object|" \
	"there is no user|there is no mailbox|there is no account|there is no such"

/* It was one: closed, or its owner is away for good. */
#define NAME_CLOSED \
	EACH_NAME("", " disabled") "|" \
	EACH_NAME("", " suspended") "|" \
	EACH_NAME("", " deactivated") "|" \
	EACH_NAME("", " deleted") "|" \
	EACH_NAME("", " closed") "|" \
	EACH_NAME("", " terminated") "|" \
	EACH_NAME("", " inactive") "|" \
	EACH_NAME("", " is inactive") "|" \
	EACH_NAME("", " frozen") "|" \
	EACH_NAME("", " expired") "|" \
	EACH_NAME("", " has expired") "|" \
	EACH_NAME("", " is expired") "|" \
	EACH_NAME("", " discontinued") "|" \
	EACH_NAME("", " cancelled") "|" \
	EACH_NAME("", " canceled") "|" \
	EACH_NAME("", " retired") "|" \
	EACH_NAME("", " dormant") "|" \
	EACH_NAME("", " was disabled") "|" \
	EACH_NAME("", " was suspended") "|" \
	EACH_NAME("", " was deactivated") "|" \
	EACH_NAME("", " was deleted") "|" \
	EACH_NAME("", " was closed") "|" \
	EACH_NAME("", " was cancelled") "|" \
	EACH_NAME("", " was canceled") "|" \
	EACH_NAME("", " is closed") "|" \
	EACH_NAME("", " is deleted") "|" \
	EACH_NAME("", " is terminated") "|" \
	EACH_NAME("", " has been closed") "|" \
	EACH_NAME("", " has been cancelled") "|" \
	EACH_NAME("", " has been canceled") "|" \
	EACH_NAME("", " is cancelled") "|" \
	EACH_NAME("", " is canceled") "|" \
	EACH_NAME("", " not active") "|" \
	EACH_NAME("", " is not active") "|" \
	EACH_NAME("", " no longer active")

/* Somebody else's, whatever is said of it. */
#define EACH_WRITER(a, z) a "user" z "|" a "account" z "|" a "address" z

#define NAME_OF_OTHERS \
	EACH_WRITER("sending ", "") "|" \
	EACH_WRITER("client ", "") "|" \
	EACH_WRITER("ip ", "") "|" \
	EACH_WRITER("url ", "") "|" \
	EACH_WRITER("bounce ", "") "|" \
	EACH_WRITER("reply ", "") "|" \
	EACH_WRITER("source ", "") "|" \
	EACH_WRITER("peer ", "") "|" \
	EACH_WRITER("relay ", "") "|" \
	EACH_WRITER("submitting ", "") "|" \
	EACH_WRITER("connecting ", "") "|" \
	EACH_WRITER("author ", "") "|" \
	EACH_WRITER("originating ", "") "|" \
	EACH_WRITER("origin ", "") "|" \
	EACH_WRITER("smtp auth ", "") "|" \
	EACH_WRITER("remote ", "") "|" \
	EACH_WRITER("callback ", "") "|" \
	EACH_WRITER("web ", "") "|" \
	EACH_WRITER("link ", "") "|" \
	EACH_WRITER("server ", "")

#define USER_UNKNOWN \
	NAME_FIRST "|" NAME_AND_WORD "|" RARE_NAME_FIRST "|" NAME_LAST "|" \
	USER_UNKNOWN_OTHERWISE FOREIGN_UNKNOWN_USER
/* clang-format on */

#endif
