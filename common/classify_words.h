/* SPDX-License-Identifier: Apache-2.0 */
/*
 * classify_words: what the rules of classify.c say in other languages than English: German,
 * French, Spanish, Portuguese, Italian, Dutch, Polish, Russian, Chinese, Korean, Japanese, and, of
 * what is said most, in some thirty others. Lists
 * of phrases of words.h, each begins with '|' to follow an English one.
 */
#ifndef KAIRAN_CLASSIFY_WORDS_H
#define KAIRAN_CLASSIFY_WORDS_H

/* clang-format off */
#define FOREIGN_UNKNOWN_USER \
	"|recipient is not in my list|user is not in my list|empfaenger nicht|boite n'existe|unbekannter benutzer|adresse ist nicht bekannt|kein benutzer|kein solcher benutzer|" \
	"postfach nicht vorhanden|postfach existiert|benutzer nicht vorhanden|adresse nicht vorhanden|destinataire inexistant|" \
	"utilisateur inexistant|adresse inexistante|adresse * inexistante|adresse * inconnue|" \
	"adresse invalide|adresse * n'est pas valide|destinataire * introuvable|compte inconnu|" \
	"usuario inexistente|usuario * no existe|destinatario inexistente|" \
	"destinatario no encontrado|cuenta inexistente|cuenta no existe|no se encuentra el usuario|" \
	"conta inexistente|caixa postal inexistente|caixa postal desconhecida|utente non trovato|utente inesistente|" \
	"destinatario non trovato|destinatario non valido|destinatario inesistente|indirizzo non valido|" \
	"indirizzo * non valido|indirizzo sconosciuto|indirizzo non trovato|casella inesistente|" \
	"casella non trovata|gebruiker niet gevonden|gebruiker onbekend|adres is onbekend|adres onbekend|" \
	"adres bestaat niet|ontvanger onbekend|ontvanger niet gevonden|adres niet gevonden|" \
	"ongeldig adres|ongeldige ontvanger|nie ma takiego|nie znaleziono adresata|adresat nieznany|" \
	"odbiorca nieznany|nieznany adresat|nieznany odbiorca|adres nie istnieje|konto nie istnieje" \
	"|unbekannter empfänger|empfänger nicht bekannt|empfänger * nicht gefunden|adresse ungültig|" \
	"ungültige adresse|ungültiger empfänger|adresse ist ungültig|empfänger existiert|" \
	"usuario no válido|destinatario no válido|buzón no existe|buzón inexistente|" \
	"dirección * no válida|dirección inexistente|no se ha encontrado * dirección|" \
	"usuário não encontrado|usuário inválido|destinatário não encontrado|" \
	"destinatário inválido|endereço inexistente|endereço inválido|nie znaleziono użytkownika|" \
	"nieprawidłowy adres|такого пользователя|ящик не найден|ящик не существует|адресат не найден|" \
	"получатель не найден|получатель неизвестен|адрес не существует|неверный адрес|" \
	"недействительный адрес|нет такого ящика|пользователь неизвестен|пользователь не зарегистрирован|找不到收件人|" \
	"收件人不存在|收件人地址不|地址不存在|地址错误|無此使用者|無此帳號|查無此|用户不存|用户未找到|没有该用户|没有这个用户|无此用户|帳號不存在|账号不存在|邮箱不存在|信箱不存在|" \
	"使用者不存在|无效的收件人|地址無效|존재하지 않는|존재하지 않습니다|존재하지않|사용자를 찾을 수 없|수신자를 찾을 수 없|주소를 찾을 수 없|계정을 찾을 수 없|없는 사용자|등록되지 않은 사용자|등록되지 않은 계정|잘못된 주소|アドレスが見つかりません|" \
	"アドレスは見つかりません|宛先が存在|アドレスが正しくありません|アドレスが正しくない|アドレスが無効|無効なアドレス|アドレスがありません|アドレスはありません|" \
	"ユーザーが見つかりません|ユーザが見つかりません|ユーザー不明|ユーザ不明|受信者が見つかりません|受信者が不明|受信者不明|宛先が不明|宛先アドレス不明|該当するアドレス|" \
	"該当するメールアドレス|存在していません|実在しません|" \
	"empfänger ist unbekannt|empfänger * unbekannt|benutzer * unbekannt|adresse * unbekannt|postfach nicht verfügbar|nutzer unbekannt|kein postfach|destinataire * inconnu|destinataire n'est pas|no ha sido encontrad|utente * sconosciut|utenza inesistente|modtageren findes ikke|modtager findes ikke|ukendt modtager|ukendt bruger|brugeren findes ikke|adressen findes ikke|mottakeren finnes ikke|mottakeren er ukjent|ukjent mottaker|ukjent bruker|brukeren finnes ikke|adressen finnes ikke|mottagaren finns inte|okänd mottagare|användaren finns inte|adressen finns inte|vastaanottajaa ei löyd|tuntematon vastaanottaja|tuntematon käyttäjä|käyttäjää ei löyd|osoitetta ei löyd|nem létezik|ismeretlen címzett|ismeretlen felhasználó|nincs ilyen felhasználó|postafiók nem létezik|kullanıcı bulunamadı|alıcı bulunamadı|böyle bir kullanıcı|adres bulunamadı|geçersiz alıcı|geçersiz adres|hesap bulunamadı|uživatel neexistuje|neznámý uživatel|příjemce neexistuje|neznámý příjemce|schránka neexistuje|adresa neexistuje|používateľ neexistuje|utilizator necunoscut|utilizatorul nu există|destinatar necunoscut|adresa nu există|nepoznat korisnik|korisnik ne postoji|uporabnik ne obstaja|ο χρήστης δεν υπάρχει|άγνωστος χρήστης|άγνωστος παραλήπτης|ο παραλήπτης δεν υπάρχει|невідомий користувач|користувача не знайдено|няма такъв потребител|ユーザが存在|ユーザーが存在|メールボックスはありません|メールボックスがありません" \
	"|mailbox * unbekannt|mailbox unbekannt|postfach * unbekannt|konto * unbekannt|ユーザー * 登録されていませ~ 登録されておりませ~ 登録されておら~ 登録されていな~ 登録がありませ~ 登録がござい|ユーザ * 登録されていませ~ 登録されておりませ~ 登録されておら~ 登録されていな~ 登録がありませ~ 登録がござい|ディレクトリに登録|アドレス * 登録されていませ~ 登録されておりませ~ 登録されておら~ 登録されていな~ 登録がありませ~ 登録がござい|宛先 * 登録されていませ~ 登録されておりませ~ 登録されておら~ 登録されていな|ne figure pas|verzeichnis nicht|pas répertorié|verzeichnis aufgeführt|nicht im * verzeichnis|n'existe plus" \
	"|destinataire * inexistant~ introuvable~ invalide|utilisateur * inconnu~ inexistant~ introuvable" \
	"|boîte * n'existe~ inexistante~ introuvable" \
	"|adresse * introuvable~ n'est plus valide~ unbekannt~ nicht gefunden~ existiert nicht~ nicht vorhanden~ ungültig" \
	"|empfänger * existiert nicht~ nicht vorhanden|benutzer * existiert nicht~ nicht vorhanden" \
	"|postfach * existiert nicht~ nicht vorhanden" \
	"|usuario * desconocido~ inexistente~ no encontrado~ no válido" \
	"|destinatario * desconocido~ inexistente~ no encontrado~ sconosciuto" \
	"|cuenta * inexistente~ no encontrada" \
	"|dirección * inexistente~ no encontrada~ desconocida~ incorrecta|no figura en|não consta" \
	"|usuário * inexistente~ desconhecido~ não encontrado~ inválido" \
	"|destinatário * inexistente~ desconhecido~ não encontrado|conta * inexistente~ não encontrada" \
	"|endereço * inexistente~ desconhecido~ não encontrado|non risulta" \
	"|utente * non trovato~ non valido|indirizzo * sconosciuto~ non trovato~ errato" \
	"|casella * non trovata|gebruiker * bestaat niet~ onbekend~ niet gevonden" \
	"|ontvanger * bestaat niet~ onbekend~ niet gevonden" \
	"|adres * onbekend~ niet gevonden~ ongeldig~ nie został" \
	"|mottagaren * finns inte~ hittades inte~ okänd|användaren * finns inte~ hittades inte" \
	"|adressen * finns inte~ hittades inte~ finnes ikke~ findes ikke~ ble ikke funnet~ blev ikke fundet" \
	"|mottaker * finnes ikke~ ukjent~ ble ikke funnet|modtager * findes ikke~ ukendt~ blev ikke fundet" \
	"|bruker * finnes ikke~ ble ikke funnet|bruger * findes ikke~ blev ikke fundet" \
	"|vastaanottaj* ei löyd~ ei ole olemassa|käyttäj* ei löyd~ ei ole" \
	"|osoit* ei löyd~ ei ole olemassa|tundmatu kasutaja|tundmatu saaja|kasutajat ei" \
	"|kasutaja * ei eksisteeri~ ei leitud|aadress * ei eksisteeri~ ei leitud|postkasti ei" \
	"|nezināms lietotājs|lietotājs * neeksistē~ nav atrasts|adrese * neeksistē~ nav atrasta" \
	"|nežinomas vartotojas|nežinomas gavėjas|vartotojas * neegzistuoja~ nerastas" \
	"|adresas * neegzistuoja~ nerastas|nie znaleziono adresu|użytkownik * nieznan~ nie został" \
	"|skrzynk* nie znaleziono|uživatel * nenalezen~ neznám|příjemce * nenalezen~ neznám" \
	"|adresa * nebyla nalezena~ nebola nájdená~ nu a fost găsită~ ne postoji|neexistuje" \
	"|používateľ * neznám~ nenájden|cím * nem található|címzett * nem található" \
	"|felhasználó * nem található~ nem létezik|cím nem létezik|utilizator inexistent" \
	"|utilizator * inexistent~ necunoscut~ nu există|destinatar inexistent" \
	"|destinatar * inexistent~ nu există|căsuța * nu există|korisnik * ne postoji~ nepoznat" \
	"|naslov * ne obstaja|потребител * не съществува~ непознат" \
	"|няма такъв адрес|користувач * не існує~ невідом" \
	"|такого користувача|адреса не існує" \
	"|одержувач * не знайдено~ невідом" \
	"|παραλήπτης * δεν βρέθηκε" \
	"|διεύθυνση * δεν βρέθηκε~ δεν υπάρχει" \
	"|χρήστης * δεν βρέθηκε|adresi bulunamadı|adres * bulunamadı" \
	"|kullanıcı * bulunamadı~ mevcut değil|alıcı * bulunamadı~ mevcut değil|אינו קיים" \
	"|אינה קיימת|משתמש לא ידוע|המשתמש לא קיים" \
	"|הכתובת לא קיימת|הכתובת לא נמצאה|غير موجود" \
	"|مستخدم غير معروف|لا يوجد مستخدم|کاربر ناشناس" \
	"|کاربر یافت نشد|کاربر وجود ندارد|ไม่พบผู้ใช้" \
	"|ไม่มีผู้ใช้|ไม่พบที่อยู่" \
	"|ไม่พบผู้รับ|người dùng không tồn tại" \
	"|địa chỉ không tồn tại|địa chỉ * không tồn tại" \
	"|tài khoản không tồn tại|không tìm thấy địa chỉ|không tìm thấy người" \
	"|adressat unbekannt|adressat * unbekannt|usager inconnu|neexistující|nincs ilyen címzett|gibt es nicht|existiert bei uns nicht|existiert hier nicht|n existe pas|kendes ikke" \
	"|konto * finns inte~ finnes ikke~ findes ikke|には登録されていま|には登録されており|adresse* blev ikke fundet~ ble ikke funnet" \
	"|アドレス * 使われていませ~ 使われておりませ~ 使われておら~ 使用されていませ~ 使用されておりませ~ 使用されておら" \
	"|使われていない * アドレス|使用されていない * アドレス|利用のないアドレス|利用のないメールアドレス" \
	"|アドレス * 廃止されて~ 廃止いたし~ 廃止しました|廃止された * アドレス|ディレクトリにありませ|ディレクトリにリストされて" \
	"|ディレクトリに見つかりませ|アドレス帳にありませ|nicht im *-verzeichnis~ adressbuch|no listado en * directorio" \
	"|non elencato * directory|niet vermeld in * adresboek~ directory|não listado no * diretório" \
	"|adresse * n'est plus utilisée~ n'est plus attribuée|endereço * não foi localizado|usuário * não foi localizado" \
	"|niet meer in gebruik|ontvanger * niet bekend|gebruiker * niet bekend|adresse * n'est plus active" \
	"|адресат * не зарегистрирован|пользователь * не зарегистрирован|получатель * не зарегистрирован" \
	"|mottagaren * inte hittas|användaren * inte hittas|adressen * inte hittas|nemá schránku" \
	"|nobody with that|nobody with this|kein empfänger mit|kein nutzer mit|aucun utilisateur de ce|aucun utilisateur avec ce|aucun destinataire" \
	"|ningún usuario con es|ninguna cuenta con es|usuário * não cadastrado|usuário não cadastrado|endereço * não cadastrado" \
	"|nessun utente con que|nessuna casella con que|存在しておりませ|存在しておらず" \
	"|alıcı * kayıtlı değil|kullanıcı * kayıtlı değil|ไม่พบบัญชี|người nhận * không có trong~ không tồn tại" \
	"|pengguna * tidak ditemukan~ tidak ada~ tidak dikenal|alamat * tidak ditemukan~ tidak ada" \
	"|penerima * tidak ditemukan~ tidak ada~ tidak dikenal|akun * tidak ditemukan"

/* Ours, not the recipient's: the sender's address, domain or account. */
#define FOREIGN_SENDER \
	"|ihr konto|votre compte|su cuenta|sua conta|il tuo account|uw account|twoje konto|" \
	"ваш аккаунт|ваша учетная запись|您的帐号|您的账号|お客様のアカウント|absenderadresse|" \
	"absenderdomain|absender existiert|absender ist unbekannt|absender unbekannt|" \
	"unbekannter absender|ungültiger absender|domain des absenders|adresse des absenders|" \
	"expéditeur inconnu|expéditeur inexistant|expéditeur n'existe|expéditeur invalide|" \
	"adresse de l'expéditeur|adresse d'expéditeur|domaine de l'expéditeur|remitente desconocido|" \
	"remitente inexistente|remitente no existe|remitente inválido|remitente no válido|" \
	"dominio del remitente|dirección del remitente|remetente inexistente|remetente desconhecido|" \
	"remetente não existe|remetente inválido|domínio do remetente|endereço do remetente|" \
	"mittente sconosciuto|mittente inesistente|mittente non esiste|mittente non valido|" \
	"dominio del mittente|indirizzo del mittente|afzender onbekend|onbekende afzender|" \
	"afzender bestaat|ongeldige afzender|domein van de afzender|adres van de afzender|" \
	"nadawca nie istnieje|nieznany nadawca|nadawca nieznany|adres nadawcy|domena nadawcy|" \
	"отправитель не|отправитель неизвестен|неизвестный отправитель|адрес отправителя|" \
	"домен отправителя|neznámý odesílatel|odesílatel neexistuje|adresa odesílatele|" \
	"doména odesílatele|ismeretlen feladó|feladó nem létezik|feladó címe|gönderen adresi|" \
	"gönderici adresi|gönderen bulunamadı|okänd avsändare|avsändaradress|avsändaren finns|" \
	"avsändarens|ukjent avsender|avsenderadresse|avsenderen finnes|ukendt afsender|" \
	"afsenderadresse|afsenderen findes|tuntematon lähettäjä|lähettäjän osoite|" \
	"差出人のドメイン|差出人アドレス|差出人のアドレス|差出人が存在|送信元ドメイン|" \
	"送信元のドメイン|送信元アドレス|送信元のアドレス|送信者のドメイン|送信者アドレス|" \
	"送信者のアドレス|发件人不存在|发件人地址|发件人域名|寄件者不存在|寄件人不存在|" \
	"寄件者地址|보낸 사람 주소|보낸 사람이 존재|발신자 주소|발신자가 존재|발신 도메인"

#define FOREIGN_UNKNOWN_DOMAIN \
	"|domain existiert nicht|domainname existiert nicht|domain nicht gefunden|domain unbekannt|" \
	"unbekannte domain|domaine n'existe pas|domaine inexistant|domaine introuvable|domaine inconnu|" \
	"dominio no existe|dominio inexistente|dominio no encontrado|dominio non esiste|" \
	"dominio non trovato|dominio sconosciuto|domein bestaat niet|domein niet gevonden|" \
	"domena nie istnieje|nie znaleziono domeny" \
	"|domäne existiert nicht|domäne nicht gefunden|domínio não existe|" \
	"domínio não encontrado|домен не существует|домен не найден|несуществующий домен|域名不存在|网域不存在|" \
	"網域不存在|找不到域名|도메인을 찾을 수 없|존재하지 않는 도메인|ドメインが見つかり|ドメインは見つかり|ドメインが存在|ドメインは存在|存在しないドメイン|ドメイン不明|" \
	"ドメインが不明|ドメイン名が正しく|ドメイン名に誤りがあ|ドメインに誤りがあ|ドメイン名が間違|ドメインが間違" \
	"|宛先 * サーバーが見つか~ サーバが見つか" \
	"|der host * existiert nicht|host existiert nicht|existiert nicht im dns"

#define FOREIGN_FULL \
	"|zuviele mails|postfach * voll|postfach voll|postfach ist voll|speicherlimit|speicherplatz|" \
	"espace insuffisant|quota atteint|cuota|espacio insuficiente|" \
	"bandeja * llena|caixa * cheia|caixa cheia|cota excedida|quota excedida|casella piena|" \
	"casella * piena|spazio insufficiente|quota superata|spazio esaurito|mailbox is vol|mailbox vol|" \
	"postvak * vol|postvak vol|postbus * vol|quotum overschreden|limit skrzynki|przekroczono limit|" \
	"brak miejsca" \
	"|überfüllt|quota überschritten|kontingent * überschritten|boîte * pleine|quota dépassé|" \
	"dépassé * quota|buzón * lleno|buzón lleno|espaço insuficiente|skrzynka * pełna|skrzynka pełna|" \
	"przepełnion|переполнен|превышена квота|квота * превышена|превышен лимит|превышен объем|" \
	"недостаточно места|ящик полон|邮箱已满|信箱已滿|空间不足|空間不足|邮箱空间|容量不足|已超出容量|超过容量|가득 찼|가득찼|용량이 초과|용량을 초과|" \
	"용량 초과|용량이 부족|용량 부족|空き容量|容量オーバー|容量制限|容量を超|容量超過|容量が不足|いっぱいです|いっぱいのため|いっぱいになって|一杯です|一杯のため|一杯になって|" \
	"満杯|容量が一杯|容量がいっぱい|保存件数を超|上限件数|" \
	"postafiókja megtelt|postafiók megtelt|posta kutusu dolu|kutusu dolu|kota aşıldı|kotası dol|postilaatikko on täynnä|postilaatikko täynnä|postkassen er full|postboksen er full|postkasse er fuld|indbakke er fuld|brevlådan är full|inkorgen är full|schránka je plná|schránka plná|překročena kvóta|γραμματοκιβώτιο * πλήρες|θυρίδα * γεμάτη|скринька переповнена|limit erreicht|größe überschritten" \
	"|boîte * saturée|messagerie * pleine~ saturée|cuenta * llena|mailbox * voll~ piena~ penuh" \
	"|brevlåda * full|inkorg * full|postlåda * full|postboks * full|postkasse * full~ fuld" \
	"|innboks * full|indbakke * fuld|mailboks * fuld|postilaatik* täynnä" \
	"|schránk* plná~ plné~ zaplněn~ preplnen|postafiók * megtelt~ tele|kutusu * dolu" \
	"|căsuța * plină|cutia poștală * plină|spațiu insuficient" \
	"|кутия * пълна~ препълнена" \
	"|скриньк* переповнен~ заповнен|תיבת * מלאה|ممتلئ" \
	"|پر شده است|صندوق * پر است|hộp thư * đầy|กล่อง * เต็ม" \
	"|kotak surat * penuh|kotak masuk * penuh|postkast * täis|pastkast * pilna" \
	"|mailbox * is vol|casilla * llena|容量 * 上限に達~ 上限を超~ 上限値を超~ 上限を越~ 制限を超~ 制限値を超~ 限度を超~ 超過し~ を使い切" \
	"|buzón * superó~ superado~ excedió~ excedido|caixa * sem espaço|buzón * sin espacio" \
	"|使用量 * 上限~ 制限を超~ 制限値を超|メールボックス * 上限を超~ 上限に達~ 制限を超~ 制限値を超" \
	"|dėžutė * pilna~ perpildyta|sandučić * pun|pretinac * pun|predal * poln"

#define FOREIGN_CLOSED \
	"|konto ist gesperrt|konto gesperrt|konto deaktiviert|konto ist deaktiviert|postfach deaktiviert|" \
	"postfach gesperrt|postfach * deaktiviert|postfach ist gesperrt|compte suspendu|" \
	"cuenta deshabilitada|cuenta desactivada|cuenta * deshabilitada|cuenta suspendida|" \
	"cuenta cancelada|conta desativada|conta suspensa|conta * desativada|conta encerrada|" \
	"casella disattivata|casella * disattivata|account disattivato|account sospeso|" \
	"casella disabilitata|account is geblokkeerd|account geblokkeerd|account uitgeschakeld|" \
	"konto zablokowane|konto nieaktywne" \
	"|compte désactivé|compte * désactivé|compte clôturé|compte fermé|boîte désactivée|" \
	"buzón deshabilitado|konto zostało zablokowane|konto wyłączone|аккаунт заблокирован|" \
	"ящик отключен|ящик заблокирован|аккаунт отключен|аккаунт удален|ящик удален|" \
	"учетная запись отключена|учетная запись заблокирована|账号已停用|帐号已停用|帳號已停用|账号被禁用|帐号被禁用|邮箱已停用|已被冻结|" \
	"已注销|已被封禁|휴면 계정|휴면계정|탈퇴한|이용이 정지|사용이 중지|정지된 계정|本サービスは停止|利用停止|利用できません|解約|休止|アカウントは停止|アカウントが停止|" \
	"停止されています|利用を停止|使用停止|無効になっています|無効化されて|アカウントが無効|退会|閉鎖されて|サービスを終了|" \
	"kontoen er lukket|kontoen er deaktivert|kontot är avstängt|kontot är inaktivt|tili on suljettu|tili on poistettu|fiók megszűnt|hesap kapatıl|hesabı kapatıl|účet byl zrušen|účet je zablokován|cont dezactivat|konto wurde gelöscht|postfach wurde gelöscht|compte n'est plus actif|cuenta ya no está activa|退会済|契約を解除" \
	"|konto * gesperrt~ gekündigt~ gelöscht~ geschlossen~ deaktiviert~ zablokowan~ wyłączon~ nieaktywn~ usunięt" \
	"|postfach * gekündigt~ gelöscht~ geschlossen~ gesperrt|benutzer * deaktiviert~ gesperrt" \
	"|compte * suspendu~ clôturé~ fermé~ bloqué~ supprimé~ résilié~ inactif" \
	"|boîte * fermée~ suspendue~ supprimée~ désactivée" \
	"|cuenta * cancelada~ desactivada~ suspendida~ bloqueada~ cerrada~ inactiva~ eliminada~ dada de baja" \
	"|buzón * cancelado~ desactivado~ suspendido~ bloqueado~ cerrado~ inactivo~ deshabilitado" \
	"|usuario * dado de baja~ suspendido~ bloqueado" \
	"|conta * suspensa~ bloqueada~ encerrada~ cancelada~ inativa" \
	"|caixa postal * desativada~ suspensa~ bloqueada" \
	"|casella * sospesa~ bloccata~ chiusa~ scaduta~ disabilitata" \
	"|account * disattivato~ sospeso~ disabilitato~ chiuso~ geblokkeerd~ uitgeschakeld~ opgeheven~ gesloten" \
	"|skrzynk* zablokowan~ wyłączon~ nieaktywn~ usunięt" \
	"|kontot * avslutat~ spärrat~ inaktiv~ stängt|kontoen * lukket~ spærret~ sperret~ deaktiver" \
	"|účet * zrušen~ zablokov~ deaktivov|schránk* zrušen~ zablokov" \
	"|аккаунт * заблокирован~ отключен~ удален~ отключён~ удалён" \
	"|ящик * заблокирован~ отключен~ удален~ отключён~ удалён~ неактивен" \
	"|учетная запись * заблокирована~ отключена~ удалена" \
	"|скриньк* заблокован~ видален|hesap* kapatıl~ devre dışı" \
	"|fiók * letilt~ felfüggeszt~ megszűnt|cont * dezactivat~ suspendat~ închis" \
	"|帐号*冻结~停用~注销~禁用|账号*冻结~停用~注销~禁用" \
	"|邮箱*冻结~停用~注销~禁用|帳號*停用~凍結|계정*정지~탈퇴~비활성~삭제" \
	"|アカウント*停止~削除~閉鎖|アドレスは * 削除されました~ 削除されています~ 削除されております~ 削除済み|アドレスが削除され" \
	"|postfach * stillgelegt~ aufgelöst~ entfernt|conta * removida~ excluída|casella * cancellata~ eliminata~ rimossa" \
	"|account * verwijderd~ eliminato~ cancellato|postvak * verwijderd|mailbox * verwijderd|пользователь удален|пользователь был удален" \
	"|kontot * tagits bort~ raderat|アドレスは * 無効とな~ 利用を終了|地址已失效|邮箱已失效|帐号已失效" \
	"|더 이상 사용되지 않|hesap silin|hesabı silin|hesap * silinmiş|λογαριασμός * διαγραφεί~ απενεργοποιηθεί" \
	"|adresse wurde * aufgegeben~ gelöscht~ deaktiviert~ stillgelegt|destinataire n'est plus client" \
	"|indirizzo * è stato disattivato~ è stato soppresso~ è stato disabilitato|ящик * закрыт" \
	"|postkasse * nedlagt~ lukket~ slettet|kontoen * slettet~ nedlagt|konto * slettet~ nedlagt"

#define FOREIGN_TOO_LARGE \
	"|trop volumineux|taille maximale|trop grand|demasiado grande|muito grande|excede o tamanho|" \
	"troppo grande|dimensione massima|te groot" \
	"|サイズ制限|サイズが大きすぎ|サイズが上限|サイズの上限|サイズを超え|サイズが超過|サイズオーバー|nachricht zu groß|nachricht ist zu groß|" \
	"zu groß|tamaño máximo|tamanho máximo|jest za duża|za duży|zbyt duż|размер сообщения|" \
	"размер письма|слишком больш|邮件太大|邮件过大|郵件過大|超过大小|大小超过|크기가 너무|크기를 초과|크기 초과"

#define FOREIGN_CONTENT \
	"|spam-verdacht|spamverdacht|contenido no permitido|contenuto rifiutato" \
	"|ウイルス|ウィルス|迷惑メール|スパム|垃圾|病毒|스팸|바이러스|спам|вирус|spam détecté|contenu refusé"

#define FOREIGN_NETWORK \
	"|keine verbindung|verbindung * fehlgeschlagen|verbindung abgelehnt|connexion impossible|" \
	"tiempo de espera|no se pudo conectar|tempo limite|tempo esgotado|tempo scaduto|" \
	"connessione rifiutata|impossibile connettersi|geen verbinding|verbinding geweigerd|" \
	"przekroczono czas" \
	"|サーバーに接続できません|サーバに接続できません|接続できませんでした|接続に失敗|タイムアウト|応答がありません|zeitüberschreitung|" \
	"délai de connexion|délai d'attente|connexion refusée|conexión rechazada|conexão recusada|" \
	"não foi possível conectar|nie można połączyć|odmowa połączenia|время ожидания|" \
	"не удалось подключиться|соединение сброшено|连接超时|連線逾時|无法连接|無法連線|连接失败|연결할 수 없|연결 시간|시간 초과|연결에 실패"

#define FOREIGN_EXPIRED \
	"|zustellversuche|plazo * expir|prazo * expir" \
	"|再送期限|配送期限|保存期限|期限切れ|再送を中止|一定期間|délai * expiré|истек срок|срок доставки|投递超时|投遞逾時"
/* clang-format on */

#endif
