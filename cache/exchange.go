package cache

import (
	"bufio"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// An exchange is one or more requests that travel together on one connection,
// and the place for their answers. Between send and done it belongs to the
// connection.
type exchange struct {
	request []byte   // as it goes over the wire
	first   uint32   // the opaque of the first answer; they count up from here
	answers []answer // one for each request, filled in order
	want    int      // how many will come
	expect  string   // words with which they may begin
	carries bool     // the requests carry values
	keys    []string // of a get in the text protocol, whose answer is a list
	stats   bool     // the one answer is a list, for lines
	lines   []string // "name value"
	err     error    // why answers are missing

	started time.Time // when it got on the connection
	done    chan struct{}
}

// maxKept bounds the memory of an exchange that is kept for the next one.
const maxKept = 64 << 10

// newExchange returns an exchange with n opaques of its own, for answers that
// begin with one of the words in expect.
func (c *Client) newExchange(n uint32, expect string) *exchange {
	x, ok := c.spare.Get().(*exchange)
	if !ok {
		x = &exchange{done: make(chan struct{}, 1)}
	}
	x.first, x.expect = c.opaque.Add(n)-n+1, expect
	return x
}

// free keeps an exchange for the next one. It must be out of the connection's
// hands.
func (c *Client) free(x *exchange) {
	clear(x.answers) // the values belong to the caller
	clear(x.keys)
	if cap(x.request) > maxKept {
		x.request = nil
	}
	*x = exchange{request: x.request[:0], answers: x.answers[:0], keys: x.keys[:0], done: x.done}
	c.spare.Put(x)
}

// read takes the answers off the stream. After an error the stream must not be
// used again; a [ReplyError] means that the server is well all the same.
func (c *exchange) read(r *bufio.Reader, maxValue int) error {
	switch {
	case c.stats:
		return c.readStats(r)
	case len(c.keys) > 0:
		return c.readValues(r, maxValue)
	}
	for len(c.answers) < c.want {
		a, err := readAnswer(r, maxValue)
		if err != nil {
			if len(c.answers) > 0 {
				err = noEOF(err)
			}
			return err
		}
		if !strings.Contains(c.expect, a.status) {
			return fmt.Errorf("%w: %s, and one of %s is due", errAnswer, a.status, c.expect)
		}
		if a.hasOpaque && a.opaque != c.first+uint32(len(c.answers)) {
			return fmt.Errorf("%w: it is for request %d, and %d is due", errAnswer, a.opaque, c.first+uint32(len(c.answers)))
		}
		c.answers = append(c.answers, a)
		if a.refusal != "" && !c.harmless(a.refusal) {
			return &ReplyError{a.refusal}
		}
	}
	return nil
}

// harmless reports whether the server is sure to be at the start of a request
// after the refusal. Of a value it may else take the bytes for requests.
func (c *exchange) harmless(refusal string) bool {
	switch refusal {
	case replyClientError + notANumber, replyServerError + tooLarge, replyServerError + outOfMemory:
		return true
	}
	return !c.carries && strings.HasPrefix(refusal, replyServerError)
}

// readValues takes the answer to a get: the values that are there, in the order
// of the keys, each with its key, and END. Those that are not become misses.
func (c *exchange) readValues(r *bufio.Reader, maxValue int) error {
	for {
		line, err := readLine(r)
		if err != nil {
			return noEOF(err)
		}
		word, rest := cutWord(line)
		switch string(word) {
		case "VALUE":
		case replyEnd:
			for len(c.answers) < len(c.keys) {
				c.answers = append(c.answers, answer{status: "EN"})
			}
			return nil
		case "ERROR", "CLIENT_ERROR", "SERVER_ERROR":
			return &ReplyError{quote(line)}
		default:
			return unexpected(line)
		}
		key, rest := cutWord(rest)
		_, rest = cutWord(rest) // flags
		for len(c.answers) < len(c.keys) && c.keys[len(c.answers)] != string(key) {
			c.answers = append(c.answers, answer{status: "EN"})
		}
		if len(c.answers) == len(c.keys) {
			return fmt.Errorf("%w: nobody asked for %.60q, or not then", errAnswer, key)
		}
		c.answers = append(c.answers, answer{status: "VA"})
		if err := c.answers[len(c.answers)-1].readValue(r, line, rest, maxValue); err != nil {
			return err
		}
	}
}

// maxStats bounds the lines of statistics.
const maxStats = 10_000

func (c *exchange) readStats(r *bufio.Reader) error {
	for len(c.lines) < maxStats {
		line, err := readLine(r)
		if err != nil {
			return noEOF(err)
		}
		word, rest := cutWord(line)
		switch string(word) {
		case "STAT":
			c.lines = append(c.lines, string(rest))
			continue
		case replyEnd, "RESET", replyOK:
			c.answers = append(c.answers, answer{status: "OK"})
			return nil
		case "ERROR", "CLIENT_ERROR", "SERVER_ERROR":
			c.answers = append(c.answers, answer{refusal: quote(line)})
			return nil // the request was one line, and this is its answer
		}
		return unexpected(line)
	}
	return fmt.Errorf("%w: more than %d statistics", errAnswer, maxStats)
}

// The requests. See protocol.txt of memcached, "Meta Commands".

func (c *exchange) word(s string) { c.request = append(c.request, s...) }

// arg adds a flag with a number.
func (c *exchange) arg(flag string, n uint64) {
	c.request = strconv.AppendUint(append(c.request, flag...), n, 10)
}

// end adds the opaque and the end of the line.
func (c *exchange) end() {
	c.arg(" O", uint64(c.first+uint32(c.want)))
	c.word("\r\n")
	c.want++
}

// ttl adds the flag T: seconds, rounded up, and what is longer than thirty days
// as a point in time.
func (c *exchange) ttl(ttl time.Duration) {
	seconds := int64(ttl / time.Second)
	if ttl%time.Second > 0 {
		seconds++
	}
	if seconds > maxRelativeTTL {
		seconds += time.Now().Add(time.Second - 1).Unix()
	}
	switch {
	case ttl < 0:
		c.word(" T-1")
	case seconds > math.MaxInt32: // more than servers can count
		c.word(" T0")
	default:
		c.arg(" T", uint64(seconds))
	}
}
