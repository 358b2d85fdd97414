// Package codec says what the bytes of a message mean: text in a character set,
// a value in JSON, MessagePack or gob, numbers packed as in C.
//
// A program that sends values starts with [NewStream], which puts a [Codec] on
// a connection of package framing; one that has text starts with [Lookup].
//
//	s := codec.NewStream[Question, Answer](conn, codec.JSON{})
//	err := s.Send(ctx, Question{"Ana"})
//	answer, err := s.Receive(ctx)
//
//	latin1, err := codec.Lookup("latin1")
//	wire, err := latin1.Encode([]byte("café"))
//
// [Pack] and [Unpack] are Python's module struct.
//
// # The idea
//
// A network carries octets. That 63 61 66 E9 is the word café, and 00 00 10 9D
// the number 4253, is an agreement, and the octets do not say which one was
// made. Read by another agreement the same octets are another text (cafÃ©),
// another number (2,635,071,488), or nothing at all. So the two ends agree
// beforehand, and the receiver checks: bytes that cannot have been made in the
// agreed way are an error, to be said and not to be guessed at.
//
//	what is sent            agreed on              here
//	text                    a character set        [Text]: utf-8, latin1, …
//	bytes where text is due letters for bytes      [Text]: base64
//	names in the DNS        Punycode               [Text]: idna
//	much that repeats       compression            [Text]: zlib, gzip
//	a record, a list        a serialisation        [JSON], [MessagePack], [Gob]
//	the fields of a header  sizes and byte order   [Layout]
//
// # The picture
//
//	Question{"Ana"}                             Question{"Ana"}
//	      |                                            ^
//	   Marshal          codec: what it means       Unmarshal
//	      v                                            |
//	{"Name":"Ana"}                              {"Name":"Ana"}
//	      |                                            ^
//	    Send        framing: where it begins and ends  Receive
//	      v                                            |
//	00 00 00 0e 7b 22 4e ...  ------------->  00 00 00 0e 7b 22 4e ...
//
// # Wire format
//
// The word "é€" in some of the encodings, in hex:
//
//	utf-8          c3 a9  e2 82 ac          one to four bytes a character
//	utf-16         ff fe  e9 00  ac 20      a byte order mark, then two or four
//	utf-16be       00 e9  20 ac             the same without mark, high byte first
//	latin1         e9                       one byte; the euro sign has none
//	windows-1252   e9  80                   Latin-1 with the euro at 80
//	base64         77 36 6e 69 67 71 77 3d  "w6nigqw=", of the UTF-8 form
//
// The record {"n": 1} as a value:
//
//	JSON           7b 22 6e 22 3a 31 7d     text: {"n":1}
//	MessagePack    81 a1 6e 01              map of 1, string of 1, n, 1
//	gob            07 ff 80 00 01 01 6e 02  length, type by number, 0, 1 pair; n, 2·1
//	Pack("<i", 1)  01 00 00 00              only the number; @ also aligns
//
// # Pitfalls
//
//   - A decoder that guesses: TestSilentGuess has what others let pass, overlong
//     UTF-8, half a surrogate pair, line breaks and spare bits in base64.
//   - Text that the encoding cannot hold: TestUnfit says which character.
//   - A kilobyte that becomes a gigabyte: TestBomb.
//   - More after the end, which zlib's own users often lose: TestAfterTheEnd.
//   - Five bytes that announce four thousand million elements: TestFiveBytes
//     shows what the library does with them. TestDeepNesting the same for depth,
//     TestMapInExtension for lengths that hide where nobody looks.
//   - A number in an any: TestJSONNumbers loses digits beyond 2^53.
//   - Strings that are not UTF-8 go out of [JSON.Marshal] changed:
//     TestJSONMarshal.
//   - A gob message taken out of its connection lacks its types: TestGobTypesOnce
//     and TestGobStandsAlone. One lost message loses those after it:
//     TestRefusedMessage.
//   - A C struct has holes: TestAlignment. The machine's byte order is not the
//     network's: TestByteOrder.
//
// # Limits and security
//
// Everything is bounded: decompressed bytes by [Text.MaxSize], 16 MiB; JSON and
// MessagePack by size, 16 MiB, and depth, 10,000 and 1,000; MessagePack also by
// the number of its values; gob by size, 256 KiB; names for idna before Punycode
// takes time over them. MessagePack is walked from end to end before a decoder
// sees it. What the values take in memory is more than their bytes, in an any up
// to some tens of times.
//
// Gob was not made for hostile input: nothing but its size bounds how deep it
// goes, and the types inside interface values, which a decoder keeps, are not
// counted. What a type's own UnmarshalJSON, GobDecode or DecodeMsgpack does is
// its own affair. encoding/json matches names of fields in any case and takes
// the last of two alike.
//
// The tables for idna are those of the Go release, for Go 1.26 Unicode 15.0. No
// encoding hides anything: base64 and gzip are no encryption.
//
// # Exercises
//
//	go run ./examples run D1    a chapter of the Quixote in any encoding
//	go run ./examples run D2    records as JSON, MessagePack or gob
//	go run ./examples run D3    a chat by turns, in serialised messages
//	go run ./examples run D5    all encodings side by side, and the tool codecs
//
// # References
//
//   - [RFC 3629] UTF-8, [RFC 2781] UTF-16, [UTS 46] idna, [RFC 3492] Punycode
//   - [RFC 4648] base64, [RFC 2045 section 6.8] its lines in mail
//   - [RFC 1950] zlib, [RFC 1951] DEFLATE, [RFC 1952] gzip
//   - [RFC 8259] JSON, [MessagePack's specification], [Python's struct]
//
// # Reading path
//
// charset.go, from numbers to characters; msgpack.go, a format whose every
// length is doubted; stream.go, values over a connection.
//
// [RFC 3629]: https://www.rfc-editor.org/rfc/rfc3629
// [RFC 2781]: https://www.rfc-editor.org/rfc/rfc2781
// [UTS 46]: https://www.unicode.org/reports/tr46/
// [RFC 3492]: https://www.rfc-editor.org/rfc/rfc3492
// [RFC 4648]: https://www.rfc-editor.org/rfc/rfc4648
// [RFC 2045 section 6.8]: https://www.rfc-editor.org/rfc/rfc2045#section-6.8
// [RFC 1950]: https://www.rfc-editor.org/rfc/rfc1950
// [RFC 1951]: https://www.rfc-editor.org/rfc/rfc1951
// [RFC 1952]: https://www.rfc-editor.org/rfc/rfc1952
// [RFC 8259]: https://www.rfc-editor.org/rfc/rfc8259
// [MessagePack's specification]: https://github.com/msgpack/msgpack/blob/master/spec.md
// [Python's struct]: https://docs.python.org/3/library/struct.html
package codec
