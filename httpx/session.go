package httpx

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A Signer makes texts that only who has its keys can make. The first key
// signs, all of them verify: to change keys, put a new one in front, and take the
// old one away when nothing that it signed is valid any more. Keys need 32
// random bytes.
type Signer struct{ Keys [][]byte }

// ErrKey says that a [Signer] has no key, or one that is too short.
var ErrKey = errors.New("httpx: a signer needs keys of 32 bytes or more")

func (s *Signer) check() error {
	if len(s.Keys) == 0 {
		return ErrKey
	}
	for _, k := range s.Keys {
		if len(k) < 32 {
			return ErrKey
		}
	}
	return nil
}

// mac returns the HMAC-SHA256 of a text that is meant for a purpose.
func mac(key []byte, purpose, text string) []byte {
	h := hmac.New(sha256.New, key)
	fmt.Fprintf(h, "%d:%s%s", len(purpose), purpose, text)
	return h.Sum(nil)
}

// Sign returns text, a dot and a signature, all of which a cookie can hold if
// text does. A signature for one purpose, such as the name of a cookie, is
// none for another.
func (s *Signer) Sign(purpose, text string) (string, error) {
	if err := s.check(); err != nil {
		return "", err
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(mac(s.Keys[0], purpose, text)), nil
}

// Verify returns the text of what Sign made for the same purpose, and whether
// it did.
func (s *Signer) Verify(purpose, signed string) (text string, ok bool) {
	if s.check() != nil {
		return "", false
	}
	dot := strings.LastIndexByte(signed, '.')
	if dot < 0 {
		return "", false
	}
	text = signed[:dot]
	got, err := base64.RawURLEncoding.Strict().DecodeString(signed[dot+1:])
	if err != nil {
		return "", false
	}
	for _, key := range s.Keys {
		ok = hmac.Equal(got, mac(key, purpose, text)) || ok // in the same time whichever fits
	}
	if !ok {
		return "", false
	}
	return text, true
}

// A SessionStore keeps what a server knows of its sessions. Its methods may be
// called by many goroutines at a time.
type SessionStore interface {
	// Load returns the data of a session; ok is false if there is none, or
	// none any more.
	Load(ctx context.Context, id string) (data []byte, ok bool, err error)
	// Save keeps data until the time expires.
	Save(ctx context.Context, id string, data []byte, expires time.Time) error
	// Delete forgets a session, if there is one.
	Delete(ctx context.Context, id string) error
}

// Sessions lets a server know its clients again. Each gets an id in a cookie,
// and what the server remembers of it, a T, stays on the server, as JSON in a
// store. The id is random and signed: what was not given by us never reaches
// the store.
type Sessions[T any] struct {
	Store  SessionStore // required
	Signer Signer       // required

	// Name is that of the cookie; empty means "session", with the prefix
	// __Host- when the request came over TLS.
	Name string
	// Lifetime is how long a session lives after it was saved; 0 means 30 days.
	Lifetime time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// A Session is one client's.
type Session[T any] struct {
	Data T    // what is remembered
	New  bool // the client has not been here, or is not known any more

	all *Sessions[T]
	id  string
}

func (s *Sessions[T]) cookieName(r *http.Request) string {
	name := s.Name
	if name == "" {
		name = "session"
	}
	if r.TLS != nil && !strings.HasPrefix(name, "__") {
		name = "__Host-" + name
	}
	return name
}

func (s *Sessions[T]) lifetime() time.Duration {
	if s.Lifetime <= 0 {
		return 30 * 24 * time.Hour
	}
	return s.Lifetime
}

func (s *Sessions[T]) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Get returns the session of a request, a new one if there is none that is
// valid.
func (s *Sessions[T]) Get(r *http.Request) (*Session[T], error) {
	if err := s.Signer.check(); err != nil {
		return nil, err
	}
	fresh := &Session[T]{New: true, all: s}
	name := s.cookieName(r)
	for _, c := range r.CookiesNamed(name) {
		id, ok := s.Signer.Verify(name, c.Value)
		if !ok {
			continue
		}
		data, ok, err := s.Store.Load(r.Context(), id)
		if err != nil {
			return nil, fmt.Errorf("httpx: load session: %w", err)
		}
		if !ok {
			continue
		}
		known := &Session[T]{all: s, id: id}
		if err := json.Unmarshal(data, &known.Data); err != nil {
			return nil, fmt.Errorf("httpx: load session: %w", err)
		}
		return known, nil
	}
	return fresh, nil
}

// Save remembers the session's data for its lifetime, counted from now, and
// sets the cookie: call it before anything of the body is written.
func (s *Session[T]) Save(w http.ResponseWriter, r *http.Request) error {
	data, err := json.Marshal(s.Data)
	if err != nil {
		return fmt.Errorf("httpx: save session: %w", err)
	}
	if s.id == "" {
		s.id = rand.Text() // 130 bits: nobody guesses one
	}
	name := s.all.cookieName(r)
	value, err := s.all.Signer.Sign(name, s.id)
	if err != nil {
		return err
	}
	life := s.all.lifetime()
	if err := s.all.Store.Save(r.Context(), s.id, data, s.all.now().Add(life)); err != nil {
		return fmt.Errorf("httpx: save session: %w", err)
	}
	setCookie(w, r, name, value, int(life/time.Second))
	return nil
}

// setCookie sets a cookie that scripts cannot read, that goes over TLS alone if
// this request did, and that other sites' forms do not send.
func setCookie(w http.ResponseWriter, r *http.Request, name, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode,
	})
}

// Renew forgets the id: the next Save gives a new one. Call it when a client
// has logged in, so that an id that somebody else has planted before is worth
// nothing.
func (s *Session[T]) Renew(ctx context.Context) error {
	old := s.id
	s.id = ""
	if old == "" {
		return nil
	}
	if err := s.all.Store.Delete(ctx, old); err != nil {
		return fmt.Errorf("httpx: renew session: %w", err)
	}
	return nil
}

// Delete ends the session: the server forgets it, and the client is told to.
func (s *Session[T]) Delete(w http.ResponseWriter, r *http.Request) error {
	err := s.Renew(r.Context())
	setCookie(w, r, s.all.cookieName(r), "", -1)
	var empty T
	s.Data, s.New = empty, true
	return err
}

// MemorySessions is a SessionStore that lasts as long as the process. Its zero
// value is ready to use.
type MemorySessions struct {
	Max int              // sessions kept at most, the oldest give way; 0 means 100,000
	Now func() time.Time // nil means time.Now

	mu   sync.Mutex
	kept map[string]*memorySession
	// The order of the last Save, oldest first.
	first, last *memorySession
}

type memorySession struct {
	id         string
	data       []byte
	expires    time.Time
	prev, next *memorySession
}

func (m *MemorySessions) now() time.Time {
	if m.Now != nil {
		return m.Now()
	}
	return time.Now()
}

// Load returns the data of a session.
func (m *MemorySessions) Load(_ context.Context, id string) ([]byte, bool, error) {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.kept[id]
	if !ok {
		return nil, false, nil
	}
	if !now.Before(s.expires) {
		m.remove(s)
		return nil, false, nil
	}
	return s.data, true, nil
}

// Save keeps the data of a session.
func (m *MemorySessions) Save(_ context.Context, id string, data []byte, expires time.Time) error {
	most := m.Max
	if most <= 0 {
		most = 100_000
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept == nil {
		m.kept = make(map[string]*memorySession)
	}
	if old := m.kept[id]; old != nil {
		m.remove(old)
	}
	for len(m.kept) >= most {
		m.remove(m.first)
	}
	s := &memorySession{id: id, data: data, expires: expires, prev: m.last}
	if m.last != nil {
		m.last.next = s
	} else {
		m.first = s
	}
	m.last = s
	m.kept[id] = s
	return nil
}

// Delete forgets a session.
func (m *MemorySessions) Delete(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.kept[id]; s != nil {
		m.remove(s)
	}
	return nil
}

// remove takes s out; the lock is held.
func (m *MemorySessions) remove(s *memorySession) {
	delete(m.kept, s.id)
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		m.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		m.last = s.prev
	}
}
