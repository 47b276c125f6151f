# ruff: noqa: RUF001, S104 - letters that look like others, and 0.0.0.0, are what this is about
"""Ways to write an address so that a check looks at another one than the connection goes to, by where they lead.

Classes of the OWASP testing guide; RFC 3986, 4291, 6052, 6874; UTS 46; how libc reads numbers.
"""

# Every one leads to a process on this machine. PORT is where it listens.
LOOPBACK = (
    "http://127.0.0.1:PORT", "http://127.0.0.2:PORT", "http://127.1:PORT", "http://127.0.1:PORT",
    "http://127.255.255.254:PORT", "http://2130706433:PORT", "http://0x7f000001:PORT", "http://0X7F000001:PORT",
    "http://0x7f.0.0.1:PORT", "http://0x7f.1:PORT", "http://0x7f.0x0.0x0.0x1:PORT", "http://017700000001:PORT",
    "http://0177.0.0.1:PORT", "http://0177.1:PORT", "http://0177.0x0.0.1:PORT", "http://00000177.0.0.1:PORT",
    "http://127.0.0.01:PORT", "http://127.000.000.001:PORT", "http://127.0.0.1.:PORT", "http://127.0.0.1..:PORT",
    "http://0:PORT", "http://00:PORT", "http://0x0:PORT", "http://0.0:PORT", "http://0.0.0.0:PORT",
    "http://localhost:PORT", "http://LOCALHOST:PORT", "http://LoCaLhOsT:PORT", "http://localhost.:PORT",
    "http://[::1]:PORT", "http://[0:0:0:0:0:0:0:1]:PORT", "http://[0000::0001]:PORT", "http://[::]:PORT",
    "http://[::ffff:127.0.0.1]:PORT", "http://[::ffff:7f00:1]:PORT", "http://[0:0:0:0:0:ffff:127.0.0.1]:PORT",
    "http://[::FFFF:127.0.0.1]:PORT", "http://[::ffff:0.0.0.0]:PORT", "http://[::1%25lo]:PORT", "http://[::1%lo]:PORT",
    "http://[::ffff:127.0.0.1%25lo]:PORT",
    # letters and marks that become digits and dots when the name is prepared for DNS
    "http://①②⑦.⓪.⓪.①:PORT", "http://１２７.0.0.1:PORT", "http://127。0。0。1:PORT", "http://127．0．0．1:PORT",
    "http://127｡0｡0｡1:PORT", "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:PORT", "http://ｌｏｃａｌｈｏｓｔ:PORT", "http://lo\u00adcalhost:PORT",
    "http://𝟏𝟐𝟕.𝟎.𝟎.𝟏:PORT", "http://0ⅹ7f000001:PORT",
    # percent signs, cases and blanks that one parser takes and another does not
    "http://%31%32%37.0.0.1:PORT", "http://127%2e0%2e0%2e1:PORT", "http://%6cocalhost:PORT", "HTTP://127.0.0.1:PORT",
    "hTTp://127.0.0.1:PORT", " http://127.0.0.1:PORT", "http://127.0.0.1\t:PORT", "ht\ntp://127.0.0.1:PORT",
    "http://127.0.0.1:PORT\n", "http://127.0.0.1:0PORT", "http://127.0.0.1:PORT//", "http:////127.0.0.1:PORT",
    # one address before the sign, another behind it
    "http://10.1.1.1@127.0.0.1:PORT", "http://10.1.1.1:80@127.0.0.1:PORT", "http://user:pw-canary@127.0.0.1:PORT",
    "http://10.1.1.1%40127.0.0.1:PORT", "http://10.1.1.1@@127.0.0.1:PORT", "http://@127.0.0.1:PORT",
    "http://10.1.1.1\\@127.0.0.1:PORT", "http://127.0.0.1:PORT\\@10.1.1.1", "http://127.0.0.1:PORT#@10.1.1.1",
    "http://127.0.0.1:PORT?@10.1.1.1", "http://127.0.0.1:PORT;@10.1.1.1", "http://127.0.0.1:PORT/@10.1.1.1",
    "http://10.1.1.1#@127.0.0.1:PORT", "http://10.1.1.1 @127.0.0.1:PORT", "http://10.1.1.1\x00@127.0.0.1:PORT",
    "http://10.1.1.1%00.127.0.0.1:PORT", "http://10.1.1.1,127.0.0.1:PORT", "http://10.1.1.1:PORT@127.0.0.1",
    "http://10.1.1.1%0d%0aHost:127.0.0.1:PORT", "http://10.1.1.1\r\nHost: 127.0.0.1:PORT",
    # names, which lead here by their DNS
    "http://rebound.example:PORT", "http://REBOUND.example.:PORT", "http://six.example:PORT",
    "http://mapped.example:PORT", "http://zero.example:PORT", "http://both.example:PORT",
    "http://xn--rebound-9za.example:PORT", "http://llm.example.com.rebound.example:PORT",
)  # fmt: skip

# Addresses of clouds' metadata, private, special and public networks, and wrappings of them.
ELSEWHERE = (
    "http://169.254.169.254", "http://0xa9fea9fe", "http://0xa9.0xfe.0xa9.0xfe", "http://2852039166",
    "http://0251.0376.0251.0376", "http://0251.254.169.254", "http://169.254.43518", "http://169.16689662",
    "http://169.254.169.254.", "http://169。254。169。254", "http://[::ffff:169.254.169.254]", "http://[::ffff:a9fe:a9fe]",
    "http://[::169.254.169.254]", "http://[::ffff:0:169.254.169.254]", "http://[64:ff9b::169.254.169.254]",
    "http://[64:ff9b::a9fe:a9fe]", "http://[64:ff9b:1::169.254.169.254]", "http://[64:ff9b:1:a9fe:a9:fe00::]",
    "http://[2002:a9fe:a9fe::]", "http://[2002:a9fe:a9fe::1]", "http://[2001:0:4136:e378:8000:63bf:5601:5601]",
    "http://[2001:0:a9fe:a9fe:0:0:0:1]", "http://[2400:cb00::5efe:a9fe:a9fe]", "http://[2400:cb00::200:5efe:a9fe:a9fe]",
    "http://[fd00:ec2::254]", "http://[fd20:ce::254]", "http://[fe80::1]", "http://[fe80::1%25eth0]",
    "http://[fe80::a9fe:a9fe%25lo]", "http://[fec0::1]", "http://[ff02::1]", "http://[fc00::1]", "http://[fd12:3456::1]",
    "http://100.100.100.200", "http://168.63.129.16", "http://192.0.0.192", "http://metadata.example",
    "http://10.0.0.1", "http://10.1", "http://0xa000001", "http://167772161", "http://172.16.0.1",
    "http://172.31.255.255", "http://192.168.0.1", "http://192.168.257", "http://[::ffff:10.0.0.1]",
    "http://[64:ff9b::10.0.0.1]", "http://[2002:a00:1::]", "http://100.64.0.1", "http://198.18.0.1",
    "http://203.0.113.7", "http://224.0.0.1", "http://240.0.0.1", "http://255.255.255.255", "http://8.8.8.8",
    "http://134744072", "http://0x08080808", "http://[2606:4700:4700::1111]", "http://[::ffff:8.8.8.8]",
    "http://public.example", "https://169.254.169.254", "https://8.8.8.8", "http://unix.example",
    "http://odd.example", "http://octal.example",
)  # fmt: skip

# What is no http address at all.
SCHEMES = (
    "file:///etc/hostname", "unix:///run/docker.sock", "http+unix://%2Frun%2Fdocker.sock/v1", "gopher://127.0.0.1:PORT",
    "ftp://127.0.0.1:PORT", "ws://127.0.0.1:PORT", "dict://127.0.0.1:PORT", "ldap://127.0.0.1:PORT", "data:,x",
    "javascript:alert(1)", "//127.0.0.1:PORT", "http:127.0.0.1:PORT", "http:/127.0.0.1:PORT", "http:///127.0.0.1:PORT",
    "127.0.0.1:PORT", "/run/docker.sock", "http://", "http://:PORT", "http://[::1", "http://[v1.127]:PORT",
    "http://[127.0.0.1]:PORT", "jar:http://127.0.0.1:PORT!/", "http://127.0.0.1:99999", "http://127.0.0.1:-1", "",
)  # fmt: skip

DNS = {
    "rebound.example": ("127.0.0.1",), "six.example": ("::1",), "mapped.example": ("::ffff:127.0.0.1",),
    "zero.example": ("0.0.0.0",), "both.example": ("8.8.8.8", "127.0.0.1", "::1"),
    "metadata.example": ("169.254.169.254",),
    "xn--rebound-9za.example": ("127.0.0.1",), "llm.example.com.rebound.example": ("127.0.0.1",),
    "public.example": ("8.8.8.8",), "unix.example": ("/run/docker.sock",), "odd.example": ("127.1",),
    "octal.example": ("0177.0.0.1",), "allowed.example": ("127.0.0.1",),
}  # fmt: skip
