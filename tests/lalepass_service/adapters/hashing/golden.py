"""Records that other programs made of "correct horse", one of each format and maker.

htpasswd 2.4.71 (apache2-utils), slappasswd 2.5.13 (slapd, slapd-contrib), mkpasswd 5.5.17 (whois),
openssl 3.0.19, PHP 8.2.36, WordPress 6.1.9's class-phpass.php, Django 5.2.19, passlib 1.7.4,
argon2-cffi 25.1.0, PyNaCl 1.6.2 and Synapse 1.163.2's hash_password. The commands stand
beside the records; costs are low where they could be chosen, so that the tests are quick.
"""

# ruff: noqa: ERA001 - the comments are the commands

from typing import Final

PASSWORD: Final = "correct horse"
PEPPER: Final = b"sea salt"

GOLDEN: Final = {
    # htpasswd -bnBC 5 x "$P"
    "htpasswd, bcrypt": "$2y$05$FpjjepB.YtGL6peLgA6uSetLGvNyz0QDRHVYH7z43bEz5qhsA4S8C",
    # htpasswd -bns x "$P"
    "htpasswd, SHA-1": "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=",
    # htpasswd -bnm x "$P"
    "htpasswd, apr1": "$apr1$5zPgv4Kt$Bp0Y1vyGJqL9xrntE8dgk1",
    # openssl passwd -apr1 "$P"
    "openssl, apr1": "$apr1$jI1ofR8W$hbL7HCC1IwmgYm/jDKL8E1",
    # openssl passwd -1 "$P"
    "openssl, md5-crypt": "$1$tR2cRc/1$hIuo9JSt7JUTR37PBWCXB.",
    # mkpasswd -m md5crypt "$P"
    "mkpasswd, md5-crypt": "$1$1EJE5nwu$4EIIExNVccfGFJLo/TP/U.",
    # passlib.hash.ldap_md5_crypt.hash(P)
    "passlib, CRYPT of md5-crypt": "{CRYPT}$1$Ro3K5qG5$EguOWrA193oU.rdoer0/N.",
    # slappasswd -s "$P" -h '{SSHA}'
    "slappasswd, SSHA": "{SSHA}ZkDvJkNWRodJq+VYmCllnpO1sAONSR1N",
    # slappasswd -s "$P" -h '{SSHA256}' -o module-load=pw-sha2
    "slappasswd, SSHA256": "{SSHA256}lKkM6pKmMc+QZAheBRklNzHSyQ/2dyJPfk1Nwy3Pgw5hooASaf9Tlw==",
    # slappasswd -s "$P" -h '{SSHA512}' -o module-load=pw-sha2
    "slappasswd, SSHA512": (
        "{SSHA512}feU5ucoAuo8xgEEc+Z68O7NlX7wr7eWVqv0IFDsTi5Mwg6sMs3GlTrkEZKa2LKC2"
        "fztNDLSej0yNRtSrNkdZ4S9lS1HqaOR+"
    ),
    # slappasswd -s "$P" -h '{SHA512}' -o module-load=pw-sha2
    "slappasswd, SHA512": (
        "{SHA512}VraY3v7bWkNbY0r+MyC7rz/c2SC2xQOkRvx7endrKY1HnRumqLYXgI6wv1ec6ald"
        "ZoNHvKtxSQhayTyyeZUZew=="
    ),
    # slappasswd -s "$P" -h '{CRYPT}' -c '$6$%.16s'
    "slappasswd, CRYPT": (
        "{CRYPT}$6$4VfVIZ7DRg2ubLla$iWvn1ZDOjMHQxBFr48Ymk.Y0ionZqZNNTy35pVnsqhFL"
        "fi6BbL948zpRkdqXk6WYyJdZD4UlUOOJlTQKY0IB01"
    ),
    # slappasswd -s "$P" -h '{ARGON2}' -o module-load='argon2.la m=64 t=1 p=1'
    "slappasswd, ARGON2": (
        "{ARGON2}$argon2i$v=19$m=64,t=1,p=1$N5adVvDCR2ubwzX7WlmHgQ"
        "$4jGMGUmdqkBl6sd8z8CRU8tO98KcXD7fRD1UMt6nhRQ"
    ),
    # slappasswd -s "$P" -h '{PBKDF2}' -o module-load=pw-pbkdf2, and the next three alike
    "slappasswd, PBKDF2": "{PBKDF2}10000$C2SQSoG.6yVrjqs5eDyN8g$iDmW9qIKOEr.Im28WzrrP6Rge9U",
    "slappasswd, PBKDF2-SHA1": (
        "{PBKDF2-SHA1}10000$9cU1Ra5aL1Idu6ZN7UcNEw$JoD/oTvCjNPQvXKC8eIbwpG.Rkw"
    ),
    "slappasswd, PBKDF2-SHA256": (
        "{PBKDF2-SHA256}10000$UEGioltJySzy0RsSaMGonA$AXLHtqUgwJhTSGy/hWq.baHZAXZLL7auIPbatJ/nrv0"
    ),
    "slappasswd, PBKDF2-SHA512": (
        "{PBKDF2-SHA512}10000$Lq5aLo7wp5pu4gMTGl9sJA$3AaQurEmhVBszciEwimP5sufbZ1N2c26MYkjQONoHyAv"
        "J4fhrwQ3s3NgL5fum1FkSonO.RDiq2MrVM4w56LxIQ"
    ),
    # passlib.hash.ldap_pbkdf2_sha1.using(rounds=1000).hash(P), and the next two alike
    "passlib, LDAP's PBKDF2": "{PBKDF2}1000$CmFMCYFwDqH0vvceg/Beiw$0t2cbDttmbRL0QzpzhtR4UXZELg",
    "passlib, LDAP's PBKDF2-SHA256": (
        "{PBKDF2-SHA256}1000$KEXI2RvDOMe4d67VmlNqDQ$aHs14g9Po5BLVUh7Y79EfXIEV7KO297FuCiZ4mbxnA4"
    ),
    "passlib, LDAP's PBKDF2-SHA512": (
        "{PBKDF2-SHA512}1000$QYhxLuUcAyCEUAqh9N77nw$S6FfKnhOt1GDNSGvq24GOpMnX9WgYsHIIcSC4KPEAtMF"
        "uy2c6kcX2XlZ7ZjNHn5jAKAqwwJ/RtLQczkkMdBIAQ"
    ),
    # mkpasswd -m scrypt -R 6 "$P"
    "mkpasswd, scrypt": (
        "$7$BU..../....aLMqzJFl4B4t7T.BBZyxQ1$gFdkanXF3YSWvkakMWASMKEUd3rKjNjiNg/PLDT.QA5"
    ),
    # nacl.pwhash.scrypt.str(P, opslimit=OPSLIMIT_MIN, memlimit=MEMLIMIT_MIN)
    "libsodium, scrypt": (
        "$7$86..../....QAxijYhAc4oBu5KihX0DTTr28fPD1mum5QLPJCMrGi/"
        "$5wZ2hB9UucFENHucskzqFNrdizzJXLhZnM1FMQdk5j7"
    ),
    # mkpasswd -m sha512crypt "$P"
    "mkpasswd, sha512-crypt": (
        "$6$1G1m/1p42rlXCjDS$t0hatcfxgCVn81mbP8lYTtK5AJl91Y.spH59eibrDuDPfpLPcTp8"
        "D8LIVmROvpEP9HTFrwvYBGe1JKwsZPf43/"
    ),
    # mkpasswd -m sha512crypt -R 1500 "$P"
    "mkpasswd, sha512-crypt with rounds": (
        "$6$rounds=1500$md8Hh5r6Eyz4Q36h$Pj.OxsQ05wRN7kWNZwznPUTmc/jPxqkvJ8tahyMJ"
        "/OWaqLWfdgq7rNODvWJ6P9qqlZHwPUeBOsciJ8uIegyF71"
    ),
    # mkpasswd -m sha256crypt -R 1000 "$P"
    "mkpasswd, sha256-crypt": (
        "$5$rounds=1000$NEUhNbKnvIlFjy4s$Z9sbrKPtioBo2H6WXqahkD9xE60FEMNNyOXleJDeVT4"
    ),
    # mkpasswd -m bcrypt -R 5 "$P"
    "mkpasswd, bcrypt": "$2b$05$PN23Z9TrVNmMIOOT1PbrD.fS77EuVwdnMo0WYxAHPPNBadp/25ALq",
    # mkpasswd -m bcrypt-a -R 5 "$P"
    "mkpasswd, old bcrypt": "$2a$05$tN8hgJcdNLRu5a1wohhWI.N.u8UnsxTA/TETNKHrBZLgnazliDPH6",
    # password_hash("correct horse", PASSWORD_BCRYPT, ["cost" => 5])
    "PHP, bcrypt": "$2y$05$W0DAUmX1VQmMp6RGK2BBqedkMTYgcrJLUQK7zfZEYhXcFgjCf8nzC",
    # password_hash(..., PASSWORD_ARGON2I, ["memory_cost" => 64, "time_cost" => 1, "threads" => 1])
    "PHP, argon2i": (
        "$argon2i$v=19$m=64,t=1,p=1$TjJCeHBxaGR0aUlEVlJpNw"
        "$J5+mG1L/qYAam6FzjNNrIYJSI8YMo1HU/Acw3LdM328"
    ),
    # (new PasswordHash(13, true))->HashPassword("correct horse"), WordPress's own
    "WordPress, phpass": "$P$Bpl1rleUEVwYIwX1kQSvQFtK3rkzBn0",
    # passlib.hash.phpass.using(rounds=7, ident="H").hash(P)
    "phpBB, phpass": "$H$5hVAf7/3z.UleVosJO6QdIr95RWbft1",
    # django.contrib.auth.hashers: encode(P, "abcDEF0123", iterations=1000)
    "Django, pbkdf2_sha256": (
        "pbkdf2_sha256$1000$abcDEF0123$fHGpWpaN0+Lc/auZ0X5ZFZ61ZGWXlB6a7fDHHjyZoGo="
    ),
    # PBKDF2SHA1PasswordHasher, by the same call
    "Django, pbkdf2_sha1": "pbkdf2_sha1$1000$abcDEF0123$XeIpm30MciWdmIqLxCi2DbzTNsE=",
    # make_password(P, hasher="argon2")
    "Django, argon2": (
        "argon2$argon2id$v=19$m=102400,t=2,p=8$SERRUG4zNERSckg4Rk1kN0ZkR0NiZg"
        "$PaJP+SMTgb9W1wdbMp6stYa6AIoQBEn7R3XvGQjGNgM"
    ),
    # BCryptSHA256PasswordHasher with rounds = 5
    "Django, bcrypt_sha256": (
        "bcrypt_sha256$$2b$05$dTUUA1OJfUppt9BllpXhWOgmGzK5GjDZ/x5D4aXpJxy.UnR2Gvu.i"
    ),
    # BCryptPasswordHasher with rounds = 5
    "Django, bcrypt": "bcrypt$$2b$05$ac1gUuM.IM0d5pgItwW98.oVdk72U1pnvXXTyGJUJchgKyrLLQxSW",
    # ScryptPasswordHasher with work_factor = 2**10, encode(P, "abcDEF0123")
    "Django, scrypt": (
        "scrypt$1024$abcDEF0123$8$5$q2KyXdgZ4L6XFiVVeQhVeQ29iFUDkr0O4nO3kfcP7SZH"
        "/Ubn7uuVNb2bnSD09hNn6QKYqMuV5BQHP1RFypIcfg=="
    ),
    # passlib.hash.scrypt.using(rounds=10).hash(P)
    "passlib, scrypt": (
        "$scrypt$ln=10,r=8,p=1$IaRUynlvjREiRGhNyTlnzA$53dYvUtho11fzDI3iO/caQ9u6D/eyfaA11S2ciPBXjE"
    ),
    # passlib.hash.scrypt.using(rounds=10, ident="$7$").hash(P)
    "passlib, scrypt of crypt(3)": (
        "$7$86..../....EWLMGaMUYuzdm9M6B2CMkQ$2/HLmU0T.mS0pXTxmPcAhq/Krs.HlFBZ0tAKgKP0Y94"
    ),
    # passlib.hash.bcrypt_sha256.using(rounds=5, version=1, ident="2a").hash(P)
    "passlib, bcrypt-sha256 of old": (
        "$bcrypt-sha256$2a,5$NgdoMBlxAUwhtHMAzKFeMe$zsNhLs8c3w5RiYKW2ClCKWD93gBdzVm"
    ),
    # the same without ident
    "passlib, bcrypt-sha256 version 1": (
        "$bcrypt-sha256$2b,5$3m0SRlhuXXDhglMOslDnTe$0F/4xqPP91ubf1/JKvVEhbGb6pRcxy2"
    ),
    # the same with version=2
    "passlib, bcrypt-sha256 version 2": (
        "$bcrypt-sha256$v=2,t=2b,r=5$Fx/ffRvJEdmRjYVa8DPwy.$XWJdJqjThFoeCu8n1PLRD68NQPMOnq2"
    ),
    # passlib.hash.pbkdf2_sha1.using(rounds=1000).hash(P), and the next two alike
    "passlib, pbkdf2-sha1": "$pbkdf2$1000$7H2vlXJuTQkB4Ny7d05prQ$MHXGkXF7LiUgMaigP7ZeXU9BYaw",
    "passlib, pbkdf2-sha256": (
        "$pbkdf2-sha256$1000$s5Zy7r33Puecc661lpJyTg$56NcOcrIi/7sHXFjTBNPlW6VEcw13c/xYbpHvcoQHUc"
    ),
    "passlib, pbkdf2-sha512": (
        "$pbkdf2-sha512$1000$6H1PKeXcGwMgpFSKEWIMgQ$DO.u1SetbnmSf5lnD1FstB7nlsHaAo"
        "Yza9QP5vvICE016sYangWVmTC3vnnCindLu1a5BxsrKQriIdH388eVpQ"
    ),
    # argon2.PasswordHasher(time_cost=3, memory_cost=64, parallelism=1, type=Type.I).hash(P)
    "argon2-cffi, argon2i": (
        "$argon2i$v=19$m=64,t=3,p=1$QruEIjpSSjRfwaXCAQ+/hA"
        "$Iqt38WXeCxVDD2MsUMknZri+mqyRE9QqjMTafnm51bA"
    ),
    # the same with parallelism=4
    "argon2-cffi, four lanes": (
        "$argon2i$v=19$m=64,t=3,p=4$3RTyn8qRPLbE7hwKM87Ntw"
        "$ef/Vh8FZ4Zi5Kdo7NtP21hYOgaKX2TC0Tx/90afpLvQ"
    ),
    # the same with Type.D
    "argon2-cffi, argon2d": (
        "$argon2d$v=19$m=64,t=3,p=1$0g53+1X3JWTY75ag1yqhew"
        "$AsXEElU8iyBp0Q3130MM/etoC4LWKbhfK9oh6i9hFC8"
    ),
    # argon2.low_level.hash_secret(P, b"somesalt123", 3, 64, 1, 32, Type.I, version=16)
    "argon2-cffi, version 1.0": (
        "$argon2i$v=16$m=64,t=3,p=1$c29tZXNhbHQxMjM$/nl+ybmxV9lRuwqnFphYV2NDhyaicrvxR2OtCDWv22w"
    ),
    # python -m synapse._scripts.hash_password -c homeserver.yaml -p "$P", with bcrypt_rounds: 5
    # and password_config.pepper: "sea salt"; marked as Synapse's by us
    "Synapse": "{SYNAPSE}$2b$05$Uz2oXmYij42zbNo0bLxI0.B5uhsrMUIiBQJ845qEyb9UCJFsJ9fRm",
}

SYNAPSE_LIGATURE: Final = "{SYNAPSE}$2b$05$i5Dw8MoJp4n7xC6/tQI6GO66XNai5Una5OBdrCzll4tji2VmvA7T."
"""Of "Müller ﬁ" with the ligature U+FB01, by the same command."""

SYNAPSE_LONG: Final = "{SYNAPSE}$2b$05$TlJv.OdnxSX1EqzXwLD4uuIqSGXwVfQac4nTzIJ72WVbkO9kY3ary"
"""Of 68 times "x": with the pepper 76 bytes, of which Synapse takes 72, as it says itself."""
