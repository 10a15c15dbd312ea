/* SPDX-License-Identifier: Apache-2.0 */
/* marks: see marks.h. Wording as the programs named send it, in their own languages. */
#include "marks.h"

#include <stdlib.h>
#include <threads.h>

static const char frame_words[] =
    /* Postfix, and its older wording */
    "this is the mail system at host|this is the postfix program|this is the * mail system|"
    /* qmail (QSBMF) and those that keep its manner */
    "this is the qmail-send program|this is the deliver program|qmail-send program|"
    "wasn't able to deliver your message|was not able to deliver your message|"
    /* Exim, GMX, 1&1, mail.ru, MXLogic */
    "created automatically by mail delivery software|"
    "contained one or more recipient addresses that were incorrectly constructed|"
    "could not be delivered to one or more|could not be delivered to all|"
    "the following address(es) failed|following addresses failed|following address failed|"
    "не может быть доставлено|не удалось доставить|ваше сообщение не было доставлено|"
    /* Sendmail, version 5 too */
    "had permanent fatal errors|had delivery errors|transcript of session follows|"
    "had transient non-fatal errors|had delivery problems|had permanent delivery errors|"
    /* Courier, OpenSMTPD, dma, MMDF, smail */
    "running the courier mail server|undeliverable mail|this is the mailer-daemon|"
    "an error has occurred while attempting to deliver|this is the dragonfly mail agent|"
    "there was an error delivering your mail|your message cannot be delivered to|"
    "attempt to deliver your message|your mail cannot be delivered|"
    /* Gmail, Google Groups */
    "delivery to the following recipient|technical details of permanent failure|"
    "technical details of temporary failure|"
    "wasn't delivered to * because|there was a problem delivering your message|"
    "there was a temporary problem delivering|the group you tried to contact|"
    /* Exchange, Outlook.com, Office 365, Domino, Notes, GroupWise */
    "did not reach the following recipient|did not reach some or all of the intended|"
    "delivery has failed to these recipients|delivery to the following recipients failed|"
    "delivery of the following message|your message * couldn't be delivered|"
    "your message wasn't delivered|was not delivered to:|was not delivered because|"
    "konnte nicht zugestellt werden|konnte nicht übermittelt werden|nicht zugestellt|"
    "n'a pas pu être remis|n'a pas été remis|échec de la remise|"
    "no se pudo entregar|no se ha podido entregar|error de entrega|"
    "impossibile recapitare|non è stato possibile recapitare|non è stato recapitato|"
    "não pôde ser entregue|não foi possível entregar|falha na entrega|"
    "niet worden bezorgd|bezorging is mislukt|niet bezorgd|kunde inte levereras|"
    "leveransen misslyckades|har inte levererats|kunne ikke leveres|blev ikke leveret|"
    "ble ikke levert|ei voitu toimittaa|toimitus epäonnistui|nie można dostarczyć|"
    "nie została dostarczona|nelze doručit|nepodařilo doručit|nem sikerült kézbesíteni|"
    "teslim edilemedi|iletilemedi|nu a putut fi livrat|fehler bei der zustellung|"
    "impossible de remettre|error al entregar|recapito non riuscito|não foi entregue|"
    "배달되지|배달할 수 없|전송되지 않|전달되지|无法送达|未送达|传递失败|"
    "remote server returned '|resolver.adr|generating server:|"
    "配信できませんでした|配信不能|送信できませんでした|送信に失敗しました|届きませんでした|"
    "お届けできません|配送できません|お送りできません|宛先不明|届けることができません|"
    "配送が拒否|配信が拒否|配送されません|配信されません|送信されません|メールは送信でき|"
    "配送に失敗|配信に失敗|送達できません|受け取られませんでした|受信を拒否されました|"
    "送信エラー|配送エラー|配信エラー|送ることができませんでした|返送されました|"
    "전송되지 못|배달되지 못|전송하지 못|보낼 수 없|발송 실패|전송 실패|반송|无法发送|被退回|"
    "не была доставлена|не было доставлено|не может быть доставлен|"
    "konnte nicht ausgeliefert|nicht ausgeliefert|unzustellbar|ist fehlgeschlagen|"
    "n'a pu être délivré|n'a pas pu être livré|n'a pas été livré|n'a pu être remis|"
    "no pudo ser entregado|no ha sido entregado|no fue entregado|no se entregó|"
    "non è stata consegnata|non è stato consegnato|impossibile consegnare|"
    "não pode ser entregue|não foi possível enviar|niet afgeleverd|kon niet worden bezorgd|"
    "nie mogła zostać dostarczona|nie udało się dostarczyć|"
    "无法投递|未能送达|退信|無法傳送|無法投遞|"
    "δεν παραδόθηκε|δεν ήταν δυνατή η παράδοση|αποτυχία παράδοσης|"
    "kunne ikke sendes|ikke leveret til|ikke levert til|gick inte att leverera|"
    "ei voitu välittää|ei pystytty toimittamaan|nebylo možné doručit|nebola doručená|"
    "nem kézbesíthető|nem lehetett kézbesíteni|ulaştırılamadı|gönderilemedi|"
    "nu a fost livrat|nije isporučen|ni bila dostavljena|не може да бъде доставен|"
    "не вдалося доставити|không thể gửi|tidak dapat dikirim|gagal terkirim|"
    "не може бути доставлен|не було доставлено|niet worden afgeleverd|kunde ej levereras|"
    "nådde inte fram|sa nepodarilo doručiť|nebolo možné doručiť|mancata consegna|"
    "ei õnnestunud|neizdevās piegādāt|nepavyko pristatyti|poslana nazaj|"
    "לא נמסרה|לא ניתן היה למסור|לא ניתן למסור|تعذر تسليم|لم يتم تسليم|فشل تسليم|"
    "تحویل داده نشد|ไม่สามารถส่ง|không gửi được|không chuyển được|"
    "無法寄達|無法遞送|無法送達|未能寄達|"
    /* Exchange 5.5 to 2003, in its languages */
    "n'a pas atteint certains|impossible de joindre le ou les|destinataires suivants|"
    "einige oder alle empfänger nicht erreicht|empfänger konnten nicht erreicht|"
    "empfänger kann nicht erreicht|folgende empfänger|folgenden empfänger|"
    "no llegó a algunos|siguientes destinatarios|destinatarios siguientes|"
    "non è pervenuto ad alcuni|seguenti destinatari|destinatari seguenti|"
    "não chegou a alguns|seguintes destinatários|destinatários seguintes|"
    "heeft sommige of alle|volgende geadresseerde|volgende ontvangers|"
    "nådde inte vissa|följande mottagare|følgende modtagere|følgende mottakere|"
    "seuraaville vastaanottajille|следующих получателей|следующим получателям|"
    "następujących odbiorców|następujących adresatów|následujícím příjemcům|"
    "következő címzett|aşağıdaki alıcı|以下收件人|下列收件人|下列收件者|다음 받는 사람|다음 수신자|"
    "次の受信者|次の宛先|以下の宛先|以下の受信者|"
    /* Yahoo, AOL, Lotus, Sun, PMDF, gateways and appliances */
    "unable to deliver your message|unable to deliver message|unable to deliver mail|"
    "unable to deliver the message|unable to deliver a message|unable to deliver this|"
    "unable to deliver to|could not deliver your|could not deliver the|couldn't deliver|"
    "the following recipient(s) could not be reached|following recipients could not be|"
    "following recipients did not receive|following recipient(s) did not receive|"
    "message was undeliverable|message is undeliverable|message was not delivered|"
    "message was not accepted|message has not been delivered|message could not be delivered|"
    "mail could not be delivered|could not be delivered to:|could not be delivered|"
    "was undeliverable|is undeliverable|undeliverable to|cannot be delivered|"
    "has been returned because|mail has been returned|returned to sender|"
    "delivery failed for|delivery failure|delivery failed|failed delivery|"
    "delivery status notification|undelivered mail|the following destination|"
    "failed recipients|failed addresses|intended recipient:|invalid final delivery userid|"
    "was rejected by a remote mail server|rejected by the recipient|"
    "rcpt to:<|technical report:|failure reasons|mail delivery error|"
    "permanent error|permanent failure|user's mailbox is full|user mailbox exceeds|"
    "unknown user:|user unknown:|your message was rejected|your message has been rejected|"
    "your email was rejected|your mail was rejected|your e-mail could not|your email could not|"
    "no such user here|there is no user by that name|as their mailbox is full|message delivery "
    "failed|delivery error|error type: smtp|"
    "error message below:|invalid user address|has not been delivered|blocked by our|"
    "unable to be delivered|could not deliver|couldn't be delivered|wasn't delivered|"
    "could not reach the following|failed to deliver|failed to reach|"
    "postponed due to|has been delayed|has not yet been delivered|still undelivered|"
    "not been delivered to * recipients after|could not send message for";

static const char delay_words[] =
    /* Sendmail, Exim, Postfix, Gmail, Courier, Messaging Server, IIS, OpenSMTPD */
    "warning message only|this is a warning|no action is required on your part|"
    "will be retried|gmail will retry|will retry|delivery incomplete|"
    "has been delayed|is delayed|delivery delayed|delivery delay|"
    "has not yet been delivered|not yet been delivered|not been delivered yet|"
    "attempts to deliver the message will continue|we will keep trying|will keep trying|"
    "will continue to try|will continue trying|will try again|still trying|"
    "still being attempted|still undelivered|do not need to resend|don't need to resend|"
    "has been postponed|will be attempted|there was a temporary problem delivering|"
    "transient non-fatal errors|delay reason|delivery will continue|continue to be retried|"
    "enqueued and undeliverable for|technical details of temporary failure|"
    "you will be notified if delivery proves impossible|"
    "wird weiterhin versucht|noch nicht zugestellt|verzögert|"
    "réessayer|retardée|se reintentará|se ha retrasado|"
    "再送を試み|再送を続け|遅延|配送が遅れ|будут продолжены|задерживается|"
    "retrasad|seguirá intentando|volverá a intentar|atrasad|continuará tentando|"
    "tentará novamente|ritardat|in ritardo|riproverà|nuovi tentativi|nouvelle tentative|"
    "erneut versucht|vertraagd|opnieuw geprobeerd|fördröj|försenad|forsinket|viivästy|"
    "opóźnion|zpožděn|oneskoren|késik|késlelte|gecikti|gecikme|întârziat|va reîncerca|"
    "отложен|повторит попытк|затриму|затримано|забавен|καθυστερ|מתעכב|ינסה שוב|"
    "تأخر|تأخير|سنحاول|延迟|延遲|继续重试|继续尝试|繼續嘗試|暂时无法投递|引き続き|"
    "まだ配信され|まだ届いて|まだ送信され|지연되|재시도합니다|계속 시도|bị trì hoãn|"
    "tiếp tục thử|tertunda|ล่าช้า";

static const char final_words[] =
    "given up|giving up|gave up|failed permanently|permanent error|permanent failure|"
    "permanent fatal errors|not going to try again|no further delivery attempts|"
    "no longer trying|will not be retried|has been returned|returned to sender|"
    "delivery has failed|message expired|could not be delivered within|"
    "this is a permanent|undeliverable mail|did not reach|"
    "was not delivered|couldn't be delivered|delivery failed|returned below|"
    "endgültig|dauerhafter fehler|erreur permanente|définitivement|error permanente|"
    "definitivamente|errore permanente|erro permanente|permanente fout|błąd trwały|"
    "постоянная ошибка|永久性|永久错误|恒久的|永続的|영구적";

static const char failure_words[] =
    "unknown|not found|no such|not exist|n't exist|rejected|refused|failed|failure|"
    "undeliverable|not deliver|n't be delivered|not be delivered|unable to deliver|invalid|"
    " full|-full|quota|disabled|blocked|denied|bounced|not recognized|permanent|error|unavailable|"
    "expired|timed out|delayed|unreachable|no mailbox|not listed|no account|malformed|inactive|"
    "suspended|too large|deferred|not valid|does not|doesn't|cannot|could not|not accept|"
    "存在し|不明|拒否|見つかりません|できません|解約|停止|一杯|いっぱい|失敗|エラー|超過|"
    "не найден|не существует|unbekannt|"
    "inconnu|desconocid|sconosciut|onbekend|nicht zugestellt|n'a pas pu|no se pudo|não pôde";

static const char success_words[] =
    "successfully delivered|successful delivery notification|was successfully|has been "
    "successfully|successful mail delivery|"
    "delivered to the following recipient|has been delivered to|was delivered to|"
    "successfully relayed|were relayed|delivery to these recipients * is complete";

static const char footer_words[] =
    "was scanned|been scanned|scanned by|scanned for|scanned with|virus-free|virus free|"
    "no virus|no viruses|checked for|checked by|protected by|powered by|confidential|"
    "unsubscribe|all rights reserved|this is an automatic|this is an automated|do not reply|"
    "x-spam|x-virus|ウイルスチェック|ウィルスチェック|著作権";

/* Exchange, Google Workspace, Mimecast, Proofpoint, Barracuda; the words are the customer's own */
static const char banner_words[] =
    "originated from outside|originates from outside|originated outside|originating from outside|"
    "originated externally|sent from outside|came from outside|comes from outside|received from "
    "outside|"
    "external to the organi|external to your organi|external to our organi|from an external source|"
    "^external|^[external|^(external|^caution:|^[caution|caution: external|warning: external|"
    "unless you recogni|unless you trust|unless you know the|know the content is safe|"
    "content is safe|you don't often get|you do not often get|don't often receive|"
    "why this is important|stammt von außerhalb|von außerhalb der|von außerhalb ihr|^externe mail|"
    "^externe e-mail|[extern]|externer absender|^achtung: extern|provient de l'extérieur|"
    "de l'extérieur de|expéditeur externe|^courriel externe|^origen externo|remitente externo|"
    "^correo externo|fuera de la organización|^email esterna|mittente esterno|dall'esterno|"
    "^e-mail externo|remetente externo|de fora da|van buiten de|externe afzender|externí "
    "odesílatel|"
    "zewnętrzny nadawca|spoza organizacji|внешний отправитель|внешняя почта|社外からの|社外メール|"
    "外部からのメール|外部から送信|组织外部|外部邮件|外部郵件|外部發件人";

/* Postfix, Exim, qmail with patches, Yahoo, dma, Messaging Server */
static const char at_session_words[] =
    "in reply to helo|in reply to ehlo|after helo|after ehlo|initial connection|"
    "after initial|in reply to initial|[connect]|[helo]|did not like our helo|"
    "did not like our ehlo|refused to talk to me|while performing the helo";

static const char at_mail_words[] =
    "in reply to mail from|after mail from|after pipelined mail from|[mail_from]|"
    "sender was rejected|response to mail from|did not like our mail from|"
    "in reply to pipelined mail|for mail command";

static const char at_data_words[] =
    "in reply to end of data|in reply to data|after end of data|after data|"
    "after pipelined data|after pipelined end|[body]|[data]|after i sent the message|"
    "did not like our final data|did not like our data|response to end of data|"
    "for text command|after sending data|in reply to end";

static const char daemon_words[] =
    "mailer-daemon|mailer_daemon|mailerdaemon|mail-daemon|maildaemon|mdaemon|mailerd@|"
    "postmaster|post_master|mail delivery|mail.delivery|mail-delivery|maildelivery|"
    "delivery subsystem|delivery system|delivery service|mail system|mail-system|"
    "system administrator|mail administrator|mail administration|"
    "microsoft exchange|bounce-handler|bounces@|smtp_mail_service|courier|"
    "systemadministrator|administrateur système|administrador del sistema|"
    "amministratore di sistema|administrador do sistema|systeembeheerder|システム管理者|"
    "системный администратор|系统管理员|系統管理員|시스템 관리자|"
    "delivery-agent|delivery agent|jetmail|internet mail delivery|mail router|mail_router|"
    "mailrouter|mail-router|mail_delivery|"
    "^<>|non-delivery|nondelivery|mmdf|mailsweeper|mail server";

static const char daemon_address_words[] = "mailer-daemon@|mailer_daemon@|postmaster@|post_master@|"
					   "mdaemon@|<>|mailer-daemon>|^mailer-daemon|"
					   "microsoftexchange";

static const char daemon_path_words[] = "mailer-daemon@|postmaster@|mdaemon@|mailer_daemon@";

static const char bounce_subject_words[] =
    "undeliver|undelivered|delivery status notification|delivery notification|failure notice|"
    "returned mail|returned message|delivery failure|delivery failed|delivery has failed|"
    "mail delivery|delivery problem|delivery error|delivery report|delivery status|"
    "mail system error|mail error|mail failure|message failure|nondeliver|non-deliver|"
    "could not be delivered|couldn't be delivered|not be delivered|message not delivered|"
    "not delivered|mail status report|failed mail|failed delivery|unable to deliver|"
    "failure delivery|rejected mail|message rejected|bounce|processing error|"
    "user unknown|no such user|unknown user|utilisateur non|non-delivery|"
    "mail returned|returned to sender|error sending|error during delivery|"
    "niet bezorg|kunne ikke|ikke leveret|ikke levert|epäonnistui|nedoručiteln|niedostarcz|"
    "kézbesíthetetlen|teslim edileme|배달되지|전달되지|未送达|"
    "unzustellbar|nicht zustellbar|nicht zugestellt|fehlgeschlagen|non remis|"
    "non distribu|échec|no se pudo entregar|no entregado|devuelto|mancato recapito|"
    "impossibile recapitare|non recapitabile|não entregue|devolvida|falha|onbestelbaar|"
    "kunde inte|недоставлен|не доставлен|не удалось доставить|"
    "配信不能|配送不能|送信できません|配信できません|メールを送信|メッセージを送信|"
    "メールセキュリティを|宛先不明|配信失敗|配送失敗|退信|无法投递|系统退信|傳送失敗|"
    "配信エラー|配送エラー|送信エラー|エラーメール|届けできません|届きませんでした|返送|"
    "送信失敗|전송되지|전송 실패|발송 실패|반송|you sent blocked|unzustellbar|"
    "niet bezorgd|doręczon|não foi entregue|nicht ausgeliefert|zustellungsfehler|zustellfehler|"
    "zustellung fehl|nicht übermittelt|mancata consegna|consegna non riuscita|"
    "non consegnato|entrega fallida|error de entrega|falla en la entrega|no se entregó|"
    "no entregada|échec de remise|message non livré|non délivré|mislykkedes|misslyckades|"
    "ikke leveres|kézbesítési hiba|teslimat başarısız|iletilemedi|nedoručen|"
    "αποτυχία παράδοσης|αδυναμία παράδοσης|доставка не удалась|ошибка доставки|"
    "配送されません|配信されません|送信されません|配信に失敗|配送に失敗|未达|投递失败|"
    "niet afgeleverd|ej levereras|nepodarilo|nemohla byť|mancata consegna|не вдалося|"
    "ei õnnestunud|neizdevās|nepavyko|nije isporučen|ni bila dostavljena|не е доставен|"
    "לא נמסרה|تعذر تسليم|فشل تسليم|تحویل داده نشد|ไม่สามารถส่ง|không thể gửi|"
    "tidak terkirim|gagal terkirim|nu a putut fi livrat|退回通知|無法寄達|"
    "not deliverable|couldn't deliver|could not deliver|cannot deliver|can't deliver|"
    "^rejected:|niet bezorgbaar|^ndr";

static const char delay_subject_words[] =
    "delayed|delay)|delay:|^delay|delivery delay|warning: message|warning: could not send|"
    "delivery warning|still being retried|still in our queue|still in the queue|still queued|"
    "temporarily|verzögert|retard|遅延|"
    "message delivery has been delayed|delivery incomplete|"
    "retrasad|atrasad|ritardat|in ritardo|vertraagd|fördröj|försenad|forsinket|viivästy|"
    "opóźnion|zpožděn|oneskoren|késik|késlelte|gecik|întârziat|задерживается|задержк|"
    "отложен|затрим|забавен|καθυστερ|延迟|延遲|지연|trì hoãn|tertunda|تأخر|تأخير";

static const char reply_subject_words[] =
    "^re:|^re :|^re[|^aw:|^sv:|^antw:|^rif:|^res:|^fwd:|^fw:|^wg:|"
    "^vb:|^vs:|^doorst|^antw|^i:|^r:|^rv:|^enc:|^res:|^pd:|^odp:|^ilt:|^ynt:|^vl:|^fs:|^转发|^轉寄|"
    "^轉發|^転送|^전달:|^пересл|^перес:|^tr :|"
    "^tr:|^返信:|^回复:|^回覆:|^答复:|^ответ:";

static const char auto_subject_words[] =
    /* RFC 3834 section 3.1.5, then what Exchange, Gmail and people write */
    "^auto:|^autoreply|^auto reply|^auto-reply|^auto response|^auto-response|^autoresponse|"
    "^automatic reply|^automated reply|^automatic response|^automated response|"
    "^auto respond|^re: auto|out of office|out of the office|out-of-office|^ooo|"
    "away from my mail|away from the office|away from office|on vacation|vacation reply|"
    "vacation:|i am away|i'm away|on holiday|annual leave|on leave|"
    "abwesenheit|abwesend|automatische antwort|nicht im büro|ausser haus|außer haus|"
    "réponse automatique|absence|absent|en congé|respuesta automática|fuera de la oficina|"
    "ausente|risposta automatica|fuori sede|fuori ufficio|resposta automática|"
    "automatisch antwoord|afwezig|autosvar|automaattinen vastaus|automatisk svar|"
    "automatyczna odpowiedź|odpowiedź automatyczna|automatiskt svar|automatická "
    "odpověď|автоответ|автоматический ответ|"
    "automatická odpoveď|automatikus válasz|otomatik yanıt|otomatik cevap|răspuns automat|"
    "αυτόματη απάντηση|автоматична відповідь|автоматичен отговор|automatski odgovor|"
    "samodejni odgovor|automaatvastus|automātiska atbilde|automatinis atsakymas|"
    "trả lời tự động|balasan otomatis|ตอบกลับอัตโนมัติ|رد تلقائي|תשובה אוטומטית|"
    "fraværende|frånvaro|poissa|lomalla|fravær|resposta automatica|respuesta automatica|"
    "reponse automatique|empfangsbestätigung|accusé de réception|acuse de recibo|"
    "^request received|^ticket received|^we received your|^we have received your|"
    "自動返信|自動応答|自動回答|自動送信|不在|自动回复|自動回覆|自动答复|자동 회신|자동 "
    "응답|부재중";

static const char complaint_subject_words[] =
    "complaint about message from|email feedback report|abuse report for|spam report for|"
    "feedback loop report|feedback report for ip";

static const char challenge_words[] =
    "boxbe|bluebottle|spamarrest|challenge-response|challenge/response|"
    "verify your message|verify your e-mail to|blocks unknown senders|"
    "confirm that you are a|confirm you are a human|verify that you are a human|"
    "verify that you are a person|once you verify|verification required|"
    "to confirm that your message|sender verification|verify your email address * deliver|"
    "approved senders|guest list|waiting list|whitelist|white list|"
    "click * to have your message delivered|request for permission|"
    "add yourself to my|complete the form * deliver|your message is being held|"
    "to release your message|being held because|has not been verified|"
    "en attente d'authentification|merci de vous authentifier|confirme o envio|"
    "confirmação de envio|bitte bestätigen sie * absender|bestätigen sie * zugestellt|"
    "antworten sie * zugestellt|prove that you are|prove you are|you are human|you are a human|"
    "not a robot|a real person|awaiting approval|awaiting your confirmation|confirm your message|"
    "haga clic * confirm|cliquez * authentif|cliquez * remis|clique * entregue|"
    "klicken sie * zugestellt|clicca * consegn|confirm your e-mail * deliver|confirm your email * "
    "deliver|click * get delivered";

static const char original_words[] =
    "^this is a copy of|^below this line is a copy|^below is a copy|^enclosed is a copy|"
    "^attachment is a copy|^a copy of * message|^copy of * message|^included is a copy|"
    "^here is a copy|^the following is a copy|^original message|^original mail|"
    "^your original message|^the original message follows|^your message follows|"
    "^unsent message|^returned message|^returned mail|^message headers|^message header|"
    "^message text follows|^message follows|^the message follows|^message contents|"
    "^header of|^headers of|^the header of|^the headers of|^the first * lines of|"
    "^the first * bytes of|^undelivered message follows|^undeliverable message follows|"
    "^undeliverable message|^rejected message|^bounced message|^body of original|^body of "
    "your|^begin forwarded|"
    "^forwarded message|^start of returned|^text of|^the text of|^contents of|"
    "^hier ist eine kopie|^ursprüngliche nachricht|^copie du message|^message d'origine|"
    "^mensaje original|^mensagem original|^messaggio originale|^oorspronkelijk|"
    "^это копия|^копия|^原始邮件|^原始信件|^元のメッセージ|^元のメール|^送信されたメール|"
    "^以下は元の|^返送メール";

static const char original_framed_words[] =
    "original|copy of|returned|unsent|header|message text|message follows|"
    "forwarded|attached|message below|end of message";

static const char label_words[] =
    "^failed:|^undelivered:|^undeliverable:|^rejected:|^bounced:|recipient=|rcpt=|address=|email=|^"
    "to=|recipient address:|original address:|intended "
    "recipient:|recipient:|recipients:|"
    "recipient(s):|recipient name:|addressee:|failed recipient|failed address|bad address|"
    "address:|addresses:|delivered to:|message to:|mail to:|be delivered to|"
    "undeliverable to|undeliverable for|message was addressed|userid:|user id:|"
    "mailbox is full:|mailbox full:|allowed size:|unknown user:|user unknown:|no such user:|"
    "invalid user:|final-recipient|original-recipient|unknown address|not be sent to:|"
    "not delivered to:|failed to:|failure to:|deliver to:|delivering to:|for recipient|"
    "unknown recipient:|mailbox:|account:|did not reach the following recipient|"
    "the following address|email address:|e-mail address:|failed for|bounced address|"
    "宛先|受信者|あて先|送信先|メールアドレス|받는 사람|수신자|无法发送到|收信人|收件者|"
    "получател|адресат|odbiorc|destinatário:|mottagare|modtager|ontvanger:|"
    "destinatario:|destinataire:|empfänger:|收件人";

static const char command_words[] = "rcpt to:|rcpt to :|rcpt to=|rcpt:";

static const char sentence_words[] =
    "deliver your message to|delivering your mail to|delivering your message to|"
    "your message to|your mail to|your email to|your e-mail to|message to|mail to|email to|"
    "e-mail to|delivery to|delivered to|deliver to|sent to|send to|addressed to|"
    "problem delivering|the recipient|recipient |the address|this address|following address|"
    "mailbox for|the mailbox|mailbox of|for user|the user|user |the account|account |"
    "generated from|message for|mail for|email bounced|nachricht an|message à|mensaje a|messaggio "
    "a|all'utente|"
    "mensagem para|to:";

static const char not_failed_words[] =
    "mail from|from:|from <|^from | from |envelope|contact|please|assistance|reply|"
    "return-path|sender|originat|for help|message-id|message id|references|in-reply|visit|"
    "http|helo|ehlo|reporting|administrator|questions|support|list-|subject|write to|"
    "help desk|helpdesk|generated by|queue id|received:|report this|on behalf|signed by|"
    "postmaster of|abuse|reach us|question|auth=|id=|user=|unsubscribe|opt out|opt-out|to leave|"
    "abmelden|abbestellen|désabonn|désinscri|darse de baja|cancelar * suscripci|"
    "descadastr|disiscri|afmelden|wypisa|отписаться|配信停止|配信解除|退订|退訂|수신거부";

static const char contact_words[] =
    "^contact|^questions|^support|^help|^inquiries|^assistance|^from:|^sender|^reply to|^kontakt|"
    "^hilfe|^absender|^aide|^expéditeur|^contacto|^remitente|^mittente|^remetente|^отправитель|"
    "問い合わせ|問合せ|連絡先|サポート窓口|差出人|送信者|^联系|发件人|寄件者|보낸 사람|문의";

static const char remark_words[] =
    "^(expanded from|^(generated from|^(ultimately generated|^<mailto:|^[mailto:|^(mailto:|"
    "^on mon|^on tue|^on wed|^on thu|^on fri|^on sat|^on sun|^on 1|^on 2|^on 3|^on 0|^<br|"
    "^(unrecoverable error|^(original|^at 1|^at 2|^(alias";

static const char *const lists[MARKS] = {
	[MARK_FRAME] = frame_words,
	[MARK_DELAY] = delay_words,
	[MARK_FINAL] = final_words,
	[MARK_FAILURE] = failure_words,
	[MARK_SUCCESS] = success_words,
	[MARK_FOOTER] = footer_words,
	[MARK_BANNER] = banner_words,
	[MARK_AT_SESSION] = at_session_words,
	[MARK_AT_MAIL] = at_mail_words,
	[MARK_AT_DATA] = at_data_words,
	[MARK_DAEMON] = daemon_words,
	[MARK_DAEMON_ADDRESS] = daemon_address_words,
	[MARK_DAEMON_PATH] = daemon_path_words,
	[MARK_BOUNCE_SUBJECT] = bounce_subject_words,
	[MARK_DELAY_SUBJECT] = delay_subject_words,
	[MARK_REPLY_SUBJECT] = reply_subject_words,
	[MARK_AUTO_SUBJECT] = auto_subject_words,
	[MARK_COMPLAINT_SUBJECT] = complaint_subject_words,
	[MARK_CHALLENGE] = challenge_words,
	[MARK_ORIGINAL] = original_words,
	[MARK_ORIGINAL_FRAMED] = original_framed_words,
	[MARK_LABEL] = label_words,
	[MARK_COMMAND] = command_words,
	[MARK_SENTENCE] = sentence_words,
	[MARK_NOT_FAILED] = not_failed_words,
	[MARK_CONTACT] = contact_words,
	[MARK_REMARK] = remark_words,
};

/* Constant once they are compiled. */
static struct phrases marks;
static once_flag is_compiled = ONCE_FLAG_INIT;

static void
compile(void)
{
	for (size_t i = 0; i < MARKS; i++)
		if (!phrases_add(&marks, i, lists[i]))
			abort(); /* the lists do not fit PHRASES_MAX */
}

void
marks_find(struct slice text, struct phrases_found *found)
{
	call_once(&is_compiled, compile);
	phrases_find(&marks, text, found);
}

bool
marks_match(struct slice text, enum mark mark)
{
	struct phrases_found found;

	marks_find(text, &found);
	return phrases_has(&found, mark);
}
