package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// A recipe says how dear a guess is: Argon2id (RFC 9106) with so much memory,
// so many passes over it and so many lanes.
type recipe struct {
	kib    uint32 // memory, in KiB
	passes uint32
	lanes  uint8
}

// usual is the second of the two recipes that RFC 9106 section 4 recommends,
// for machines that cannot give 2 GiB to each login.
var usual = recipe{64 << 10, 3, 4}

// Bounds for what a file may ask for, or one line of it could stop the server.
const (
	maxKiB      = 1 << 20
	maxPasses   = 16
	maxLanes    = 16
	saltSize    = 16
	hashSize    = 32
	maxUsers    = 1000
	maxPassword = 256
	maxUserFile = 1 << 20
)

var (
	errUsers  = errors.New("not a sound file of users")
	goodUser  = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	hashField = regexp.MustCompile(`^\$argon2id\$v=19\$m=(\d{1,9}),t=(\d{1,9}),p=(\d{1,9})\$([A-Za-z0-9+/]{1,128})\$([A-Za-z0-9+/]{1,128})$`)
)

// A secret is what is kept of a password: nothing that it could be computed
// from in less time than trying. The salt, another one for each user, makes
// equal passwords look different and tables made beforehand useless.
type secret struct {
	recipe
	salt, hash []byte
}

// newSecret takes a password in.
func newSecret(password []byte, r recipe) secret {
	s := secret{recipe: r, salt: make([]byte, saltSize)}
	rand.Read(s.salt) // never fails (crypto/rand)
	s.hash = argon2.IDKey(password, s.salt, r.passes, r.kib, r.lanes, hashSize)
	return s
}

// String is the secret in the form that other programs use too: the PHC string
// format.
func (s secret) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, s.kib, s.passes, s.lanes, b64.EncodeToString(s.salt), b64.EncodeToString(s.hash))
}

// parseSecret reads what String writes.
func parseSecret(text string) (secret, error) {
	m := hashField.FindStringSubmatch(text)
	if m == nil {
		return secret{}, fmt.Errorf("%w: no hash of the form $argon2id$v=19$m=…,t=…,p=…$salt$hash", errUsers)
	}
	var n [3]uint64
	for i := range n {
		n[i], _ = strconv.ParseUint(m[i+1], 10, 32) // nine digits at most
	}
	if n[2] < 1 || n[2] > maxLanes || n[1] < 1 || n[1] > maxPasses || n[0] < 8*n[2] || n[0] > maxKiB {
		return secret{}, fmt.Errorf("%w: m=%d,t=%d,p=%d is out of bounds (m to %d, t to %d, p to %d)", errUsers, n[0], n[1], n[2], maxKiB, maxPasses, maxLanes)
	}
	s := secret{recipe: recipe{uint32(n[0]), uint32(n[1]), uint8(n[2])}}
	var err1, err2 error
	b64 := base64.RawStdEncoding.Strict()
	s.salt, err1 = b64.DecodeString(m[4])
	s.hash, err2 = b64.DecodeString(m[5])
	if err := errors.Join(err1, err2); err != nil || len(s.salt) < 8 || len(s.hash) < 16 {
		return secret{}, fmt.Errorf("%w: salt or hash is damaged or too short", errUsers)
	}
	return s, nil
}

// users are those who may log in.
type users struct {
	secrets map[string]secret
	// decoy is checked in the place of a user who does not exist, so that the
	// answer takes as long. Nobody knows its password.
	decoy  secret
	derive func(password, salt []byte, passes, kib uint32, lanes uint8, size uint32) []byte
}

// parseUsers reads lines NAME:HASH. All hashes must have one recipe: if one
// user's took longer than the decoy's, the time would tell who exists.
func parseUsers(data []byte) (*users, error) {
	u := &users{secrets: make(map[string]secret), derive: argon2.IDKey}
	var first secret
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, hash, _ := strings.Cut(line, ":")
		if !goodUser.MatchString(name) {
			return nil, fmt.Errorf("%w: line %d: the name %q", errUsers, n, name)
		}
		s, err := parseSecret(hash)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if _, twice := u.secrets[name]; twice {
			return nil, fmt.Errorf("%w: line %d: %s is there twice", errUsers, n, name)
		}
		if len(u.secrets) == 0 {
			first = s
		} else if s.recipe != first.recipe || len(s.salt) != len(first.salt) || len(s.hash) != len(first.hash) {
			return nil, fmt.Errorf("%w: line %d: %s has another recipe than the users before, so that time would tell who exists", errUsers, n, name)
		}
		if u.secrets[name] = s; len(u.secrets) > maxUsers {
			return nil, fmt.Errorf("%w: more than %d users", errUsers, maxUsers)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %v", errUsers, err)
	}
	if len(u.secrets) == 0 {
		return nil, fmt.Errorf("%w: there is no user in it", errUsers)
	}
	u.decoy = secret{recipe: first.recipe, salt: make([]byte, len(first.salt)), hash: make([]byte, len(first.hash))}
	rand.Read(u.decoy.salt)
	rand.Read(u.decoy.hash)
	return u, nil
}

// check says whether the password is the user's. It does the same work whether
// the user exists or not, and compares without stopping at the first difference.
func (u *users) check(name string, password []byte) bool {
	s, exists := u.secrets[name]
	if !exists {
		s = u.decoy
	}
	hash := u.derive(password, s.salt, s.passes, s.kib, s.lanes, uint32(len(s.hash)))
	return subtle.ConstantTimeCompare(hash, s.hash) == 1 && exists
}
