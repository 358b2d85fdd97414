package cache

import "errors"

// Limits of memcached's protocol that both ends know.
const (
	maxKeyLen      = 250            // bytes of a key
	defaultMaxItem = 1 << 20        // bytes of an item, with its key and header
	maxRelativeTTL = 30 * 24 * 3600 // a larger expiration time is a Unix time, in seconds
)

// Answers of one line, without the end of the line.
const (
	replyStored    = "STORED"
	replyNotStored = "NOT_STORED"
	replyExists    = "EXISTS"
	replyNotFound  = "NOT_FOUND"
	replyDeleted   = "DELETED"
	replyTouched   = "TOUCHED"
	replyOK        = "OK"
	replyEnd       = "END"

	replyTooManyConns = "ERROR Too many open connections"

	replyError       = "ERROR" // no such command
	replyClientError = "CLIENT_ERROR "
	replyServerError = "SERVER_ERROR "
)

// What follows replyClientError or replyServerError.
const (
	badFormat   = "bad command line format"
	badChunk    = "bad data chunk"
	badExptime  = "invalid exptime argument"
	badDelta    = "invalid numeric delta argument"
	notANumber  = "cannot increment or decrement non-numeric value"
	tooLarge    = "object too large for cache"
	outOfMemory = "out of memory storing object"
)

// ErrKey means a key that memcached's protocol cannot carry: empty, longer than
// 250 bytes, or with a space or a control character.
var ErrKey = errors.New("cache: bad key")

// validKey reports whether the protocol can carry the key.
func validKey[T string | []byte](key T) bool {
	if len(key) == 0 || len(key) > maxKeyLen {
		return false
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] == 0x7f {
			return false
		}
	}
	return true
}
