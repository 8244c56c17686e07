"""Texts on which tokenizers are compared: many languages and scripts, emoji, code, control characters, look-alikes.

Written for this test; each string stands for a way in which a pre-tokenizer or a normaliser can go wrong.
"""

LANGUAGES = {
    "english": "The quick brown fox isn't lazy; we've seen IT'S tail, they'll say — 'twas 1,234,567 days ago!",
    "german": "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, Donaudampfschifffahrt.",
    "french": "Dès Noël, où un zéphyr haï me vêt de glaçons würmiens, je dîne d’exquis rôtis de bœuf à l'aÿ d’âge mûr.",
    "spanish": "¿Dónde está el pingüino Wenceslao? ¡Hizo kilómetros bajo una tormenta de nieve, año tras año!",
    "portuguese": "À noite, vovô Kowalsky vê o ímã cair no pé do pinguim queixoso; coração, informação, situações.",
    "italian": "Perché l'università è così lontana? Quel vituperabile zelante assaggia il whisky ed esclama!",
    "dutch": "Pa's wijze lynx bezag vroom het fikse aquaduct; 's ochtends vroeg in de zuidelijke provincies.",
    "polish": "Zażółć gęślą jaźń, a potem w Szczebrzeszynie chrząszcz brzmi w trzcinie.",
    "czech": "Příliš žluťoučký kůň úpěl ďábelské ódy nad řekou.",
    "hungarian": "Árvíztűrő tükörfúrógép, megszentségteleníthetetlenségeskedéseitekért.",
    "finnish": "Törkylempijävongahdus ja epäjärjestelmällisyydellänsäkään.",
    "swedish": "Flygande bäckasiner söka hwila på mjuka tuvor, åtta gånger om året.",
    "turkish": "Pijamalı hasta yağız şoföre çabucak güvendi; İstanbul'un ışıkları, DİYARBAKIR.",
    "romanian": "Muzicologă în bej vând whisky și tequila, preț fix, mulțumesc.",
    "greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία· ΟΔΥΣΣΕΥΣ, ὁ πολύτροπος ἀνήρ.",
    "russian": "Съешь же ещё этих мягких французских булок, да выпей чаю. МОСКВА-2024.",
    "ukrainian": "Чуєш їх, доцю, га? Кумедна ж ти, прощайся без ґольфів!",
    "bulgarian": "Жълтата дюля беше щастлива, че пухът, който цъфна, замръзна като гьон.",
    "arabic": "صِف خَلقَ خَودِ كَمِثلِ الشَمسِ إِذ بَزَغَت — يَحظى الضَجيعُ بِها نَجلاءَ مِعطارِ ١٢٣",
    "persian": "در سال‌های گذشته، زبان فارسی می‌خواهیم ۱۴۰۲ کتاب‌ها.",
    "urdu": "ٹھنڈ میں، ایک قحط زدہ گاؤں سے گذرتے وقت ایک چڑچڑے، باأثر شخص۔",
    "hebrew": "דג סקרן שט בים מאוכזב ולפתע מצא חברה; בְּרֵאשִׁית בָּרָא אֱלֹהִים.",
    "hindi": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले। क्षत्रिय १२३४",
    "bengali": "আমি বাংলায় গান গাই, আমি বাংলার গান গাই। বিশ্ববিদ্যালয় ২০২৪",
    "tamil": "அனைத்து மக்களும் சமமானவர்கள்; நாட்டுப்பற்று வாழ்க.",
    "telugu": "ప్రతిపత్తిస్వత్వముల విషయమున మానవులెల్లరును జన్మతః స్వతంత్రులు.",
    "thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน ๑๒๓",
    "lao": "ທຸກຄົນເກີດມາມີກຽດສັກສີ ເທົ່າທຽມກັນ",
    "khmer": "មនុស្សទាំងអស់កើតមកមានសេរីភាព និងសមភាព",
    "burmese": "လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့်",
    "vietnamese": "Do bạch kim rất quý nên sẽ dùng để lắp vô xương. Nguyễn Văn Thiệu, đường phố.",
    "chinese": "我能吞下玻璃而不伤身体。人工智能2024年的发展，非常迅速！「引号」《书名》",
    "traditional chinese": "視野無限廣，窗外有藍天；臺灣的繁體字與標點符號。",
    "japanese": "いろはにほへと ちりぬるを、カタカナとｶﾀｶﾅと漢字が混ざる。価格は３，０００円です。",
    "korean": "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. 2024년 12월",
    "amharic": "ሰማይ አይታረስ ንጉሥ አይከሰስ።",
    "armenian": "Բոլոր մարդիկ ծնվում են ազատ ու հավասար։",
    "georgian": "ყველა ადამიანი იბადება თავისუფალი და თანასწორი.",
    "swahili": "Watu wote wamezaliwa huru, hadhi na haki zao ni sawa; ng'ombe na nyang'anyi.",
    "yoruba": "Gbogbo ènìyàn ni a bí ní òmìnira; iyì àti ẹ̀tọ́ kọ̀ọ̀kan sì dọ́gba.",
    "indonesian": "Semua orang dilahirkan merdeka dan mempunyai martabat, anak-anak bermain-main.",
}

EMOJI = {
    "emoji": "🙂🙃😀 👍🏽👩‍👩‍👧‍👦🏳️‍🌈🇩🇪🇯🇵 ❤️‍🔥 #️⃣ ©️ ™ ½ ⅷ ² ∑∞≠≈ ℝ→ℂ",
    "mathematical": "𝐇𝐞𝐥𝐥𝐨 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ∀ε>0 ∃δ: |x−a|<δ ⇒ |f(x)−f(a)|<ε",
    "astral": "𓀀𓂀 𒀭 𐍈𐌰 𠜎𠮷 🀄🂡 \U0001f9ff\U000e0067",
}

CODE = {
    "python": "def f(x: int) -> str:\n    return f'{x!r:>10}'  # it's\n\n\nclass A(B):\n\tpass\n",
    "c": '#include <stdio.h>\nint main(void) { for (int i=0;i<10;++i) printf("%d\\n", arr[i]); }\n/* end */ //\n',
    "json": '{"key": [1, 2.5e-10, null, true], "nested": {"a\\u00e9": "\\"quoted\\""}}\r\n',
    "html": "<!DOCTYPE html><a href='https://example.org/path?q=1&r=%20#x'>&nbsp;link</a>\n<br/>\n",
    "shell": '$ ls -la | grep "^d" >> /dev/null 2>&1 && echo $HOME/${USER:-nobody}\n',
    "latex": r"\begin{equation} \int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2} \end{equation}",
    "identifiers": "camelCaseWords PascalCaseXMLHttpRequest snake_case_name SCREAMING kebab-case v1.2.3-rc1 0xDEAD 1e9",
    "diff": "@@ -1,3 +1,4 @@\n-old\n+new\n \n///// ===== ***** ----- #####\n",
}

WHITESPACE = {
    "runs": " a  b   c    d\t\te \t f",
    "lines": "\n\n\na\r\nb\r\rc\n \n  \n\t\nd   \n   e",
    "ends": "   ",
    "end of line": "word \n",
    "unicode": "a\u00a0b\u2003c\u200bd\u3000e\u2028f\u2029g\u0085h\u1680i\ufeffj",
    "controls": "".join(map(chr, range(32))) + "\x7f" + "".join(map(chr, range(0x80, 0xA0))),
    "nul": "a\x00b\x00\x00c",
    "empty": "",
    "trailing": "text with trailing spaces   ",
}

NORMALISATION = {
    "decomposed": "e\u0301a\u0308o\u0302 n\u0303 Å\u212b \u1112\u1161\u11ab q\u0307\u0323",
    "marks": "a\u0300\u0301\u0302\u0303 \u0301x 1\u0308 -\u0338 >\u0338",
    "compatibility": "ﬁ ﬂ ① ㎞ ｆｕｌｌ Ⅷ ſ ß ẞ 'ſ it'ſ K \u2126",
    "zalgo": "Z\u0351\u036ba\u0310\u0343l\u0346\u0312g\u0358\u0361o\u0321\u0322",
    "case": "DŽ Dž dž ǅ İi ıI ΣΑΣ σας ŒŒœ ĲĳIJ",
    "numbers": "1 12 123 1234 12345 123456 1234567 ٣٤٥٦ ⅠⅡⅢ ½¾ 1½ 2⁵ ١٢٣٤٥",
    "contractions": "I'm I'M I'll I'LL don't DON'T we've 's 'S 'd x'y it’s rock'n'roll '' ' '1 I'mx",
}

LOOK_ALIKES = {
    "qwen": "<|im_start|>system\nYou<|im_end|><|endoftext|> <think>no</think> <tool_call>{}</tool_call><|image_pad|>",
    "llama": "<|begin_of_text|><|header_start|>user<|header_end|>\n\nhi<|eot|><|eom|><|python_start|>x<|python_end|>",
    "halves": "<|im_ start|> <|im_start <| |> im_end|> < think> <think <|eot|",
    "nested": "<|im_<|im_end|>start|> <<think>> <|<|eot|>|>",
    "others": "<s></s> [INST] <pad> <unk> <|user|> <bos> ▁ Ġ Ċ ĠĠ",
}

TEXTS: dict[str, str] = {
    **LANGUAGES,
    **EMOJI,
    **CODE,
    **WHITESPACE,
    **NORMALISATION,
    **LOOK_ALIKES,
    "everything": "\n".join([*LANGUAGES.values(), *EMOJI.values(), *CODE.values()]),
    "long word": "a" * 3000 + "é" * 1000 + "汉" * 1000,
}
