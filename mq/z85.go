package mq

import (
	"encoding/binary"
	"errors"
	"strings"
)

// Z85 is the text form of keys ([RFC 32]): four bytes are one number, written
// as five digits to the base 85, the most significant first.
//
// [RFC 32]: https://rfc.zeromq.org/spec/32/
const z85Digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"

var errZ85 = errors.New("not Z85")

// appendZ85 appends the text of data, whose length is a multiple of four.
func appendZ85(dst, data []byte) []byte {
	for ; len(data) >= 4; data = data[4:] {
		n := binary.BigEndian.Uint32(data)
		for div := uint32(85 * 85 * 85 * 85); div > 0; div /= 85 {
			dst = append(dst, z85Digits[n/div%85])
		}
	}
	return dst
}

// appendFromZ85 appends the bytes that text stands for.
func appendFromZ85(dst []byte, text string) ([]byte, error) {
	if len(text)%5 != 0 {
		return dst, errZ85
	}
	for ; text != ""; text = text[5:] {
		n := uint64(0)
		for i := range 5 {
			v := strings.IndexByte(z85Digits, text[i])
			if v < 0 {
				return dst, errZ85
			}
			n = n*85 + uint64(v)
		}
		if n > 1<<32-1 {
			return dst, errZ85
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	}
	return dst, nil
}
