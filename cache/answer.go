package cache

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// An answer is what a server says to one request of the meta protocol: a line
// of two letters and flags, perhaps followed by a value; or that something went
// wrong.
//
//	VA 5 t-1 f0 c7 O42\r\nhello\r\n    the item, by the flags asked for
//	HD O42\r\n                         done
//	EN\r\n  NF O42\r\n  NS …  EX …     miss; not found, not stored, exists
//	SERVER_ERROR out of memory …\r\n   refused
type answer struct {
	status    string // "VA", "HD", "EN", "NF", "NS", "EX", "MN", "OK" or "" for a refusal
	refusal   string // the line that says why
	value     []byte
	flags     uint32
	cas       uint64
	ttl       time.Duration // 0 means without end
	opaque    uint32        // the request that it answers
	hasOpaque bool
}

// errAnswer means that the bytes are no answer, or not the one that is due:
// nothing after them can be believed.
var errAnswer = errors.New("unintelligible answer")

// maxQuote bounds what an error quotes of a server's words.
const maxQuote = 200

// readAnswer reads the next answer. Values are at most maxValue bytes long, lines
// as long as r's buffer. After an error the stream is unusable.
func readAnswer(r *bufio.Reader, maxValue int) (a answer, err error) {
	line, err := readLine(r)
	if err != nil {
		return a, err
	}
	word, rest := cutWord(line)
	switch string(word) { // the compiler knows that this needs no copy
	case "VA":
		a.status = "VA"
	case "HD":
		a.status = "HD"
	case "EN":
		a.status = "EN"
	case "NF":
		a.status = "NF"
	case "NS":
		a.status = "NS"
	case "EX":
		a.status = "EX"
	case "MN":
		a.status = "MN"
	case "OK":
		a.status = "OK"
	case "ERROR", "CLIENT_ERROR", "SERVER_ERROR":
		a.refusal = quote(line)
		return a, nil
	default:
		return a, unexpected(line)
	}
	flags := rest
	if a.status == "VA" {
		_, flags = cutWord(rest)
	}
	for len(flags) > 0 {
		word, flags = cutWord(flags)
		if len(word) > 0 && !a.flag(word[0], word[1:]) {
			return a, unexpected(line)
		}
	}
	if a.status == "VA" {
		err = a.readValue(r, line, rest, maxValue)
	}
	return a, err
}

// readValue reads the value that follows line. Its size is the first word of rest.
func (a *answer) readValue(r *bufio.Reader, line, rest []byte, maxValue int) error {
	word, _ := cutWord(rest)
	size, ok := number(word)
	if !ok || size > uint64(maxValue) {
		return fmt.Errorf("%w (a value is at most %d bytes)", unexpected(line), maxValue)
	}
	a.value = make([]byte, size)
	if _, err := io.ReadFull(r, a.value); err != nil {
		return noEOF(err)
	}
	end, err := readLine(r)
	if err != nil {
		return noEOF(err)
	}
	if len(end) > 0 {
		return fmt.Errorf("%w where a value should end", unexpected(end))
	}
	return nil
}

// flag takes one flag of an answer. Those that were not asked for pass.
func (a *answer) flag(name byte, value []byte) bool {
	if name == 't' && string(value) == "-1" {
		a.ttl = 0
		return true
	}
	switch name {
	case 't', 'f', 'c', 'O':
	default:
		return true
	}
	n, ok := number(value)
	switch name {
	case 't':
		// A value in its last second must not look like one without end.
		a.ttl = time.Duration(max(1, min(n, maxSeconds))) * time.Second
	case 'f':
		a.flags = uint32(n)
		ok = ok && n <= 1<<32-1
	case 'c':
		a.cas = n
	case 'O':
		a.opaque, a.hasOpaque = uint32(n), true
		ok = ok && n <= 1<<32-1
	}
	return ok
}

// maxSeconds is more than any time a server speaks of, and fits a Duration.
const maxSeconds = 1 << 32

// readLine returns the next line without its end, valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		if err == bufio.ErrBufferFull {
			return nil, unexpected(line)
		}
		if len(line) > 0 {
			err = noEOF(err)
		}
		return nil, err
	}
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return nil, unexpected(line)
	}
	return line[:len(line)-2], nil
}

func unexpected(line []byte) error {
	return fmt.Errorf("%w %q", errAnswer, quote(line))
}

// quote returns the beginning of a line, for an error.
func quote(line []byte) string {
	return strings.TrimRight(string(line[:min(len(line), maxQuote)]), "\r\n")
}

// noEOF makes of an end inside an answer what it is.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// cutWord returns the bytes up to the first space, and those after it.
func cutWord(line []byte) (word, rest []byte) {
	for i, b := range line {
		if b == ' ' {
			return line[:i], line[i+1:]
		}
	}
	return line, nil
}

// number reads decimal digits.
func number(s []byte) (n uint64, ok bool) {
	for _, b := range s {
		d := uint64(b - '0')
		if d > 9 || n > (1<<64-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, len(s) > 0
}
