package main

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/zocalo-go/zocalo/tlsx"
)

// A card is somebody's public keys with a name, like a business card: one key to
// seal what only she can open, one to check what only she can sign. A key has
// one purpose, or a signature that she is asked for might open a letter.
type card struct {
	Name         string        `json:"name"`
	Seal         []byte        `json:"seal"`   // X25519
	Verify       []byte        `json:"verify"` // Ed25519
	Self         []byte        `json:"self"`   // her own signature: she has the private key
	Endorsements []endorsement `json:"endorsements,omitempty"`

	file string // where it was read, without the ending
}

// An endorsement is somebody's word that a card belongs to who it says.
type endorsement struct {
	By        string `json:"by"` // fingerprint of the endorser's card
	Signature []byte `json:"signature"`
}

// Bounds for what strangers hand in.
const (
	maxCardFile     = 256 << 10
	maxEndorsements = 256
	maxCards        = 1000
)

// goodName is what a card's name and its file may be called: it cannot leave
// the directory, nor command a terminal.
var goodName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// errCard is the condition behind everything that is wrong with a card.
var errCard = errors.New("not a sound card")

// id is what is signed about a card: its name and both keys.
func (c *card) id() [sha256.Size]byte {
	h := sha256.New()
	// Each part has a fixed length or its length before it, so that no two
	// cards give the same bytes.
	fmt.Fprintf(h, "zocalo card 1\x00%c%s", byte(len(c.Name)), c.Name)
	h.Write(c.Seal)
	h.Write(c.Verify)
	return [sha256.Size]byte(h.Sum(nil))
}

// fingerprint is the id to be read aloud over the telephone.
func (c *card) fingerprint() string {
	id := c.id()
	return hex.EncodeToString(id[:])
}

// statement is what is signed in each role: the role stands in it, or a
// signature given in one could be used in another.
func statement(role string, parts ...[]byte) []byte {
	return slices.Concat([]byte("zocalo "+role+" 1\x00"), slices.Concat(parts...))
}

func (c *card) signed(role string) []byte {
	id := c.id()
	return statement(role, id[:])
}

// parseCard reads a card and checks what can be checked of it alone. That it is
// whose it says cannot.
func parseCard(data []byte) (*card, error) {
	c := new(card)
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(c); err != nil {
		return nil, fmt.Errorf("%w: %v", errCard, err)
	}
	if dec.More() {
		return nil, fmt.Errorf("%w: something follows it", errCard)
	}
	switch {
	case !goodName.MatchString(c.Name):
		return nil, fmt.Errorf("%w: the name %q (wanted are small letters, digits and hyphens)", errCard, c.Name)
	case len(c.Seal) != 32 || len(c.Verify) != ed25519.PublicKeySize:
		return nil, fmt.Errorf("%w: keys of %d and %d bytes, wanted are 32 and 32", errCard, len(c.Seal), len(c.Verify))
	case len(c.Endorsements) > maxEndorsements:
		return nil, fmt.Errorf("%w: %d endorsements, more than %d", errCard, len(c.Endorsements), maxEndorsements)
	case !ed25519.Verify(c.Verify, c.signed("self"), c.Self):
		return nil, fmt.Errorf("%w: its own signature does not fit: somebody has changed it", errCard)
	}
	return c, nil
}

func (c *card) encode() ([]byte, error) {
	data, err := json.MarshalIndent(c, "", "  ")
	return append(data, '\n'), err
}

// A person is a card with the private keys to it.
type person struct {
	*card
	open *ecdh.PrivateKey
	sign ed25519.PrivateKey
}

func newPerson(name string) (*person, error) {
	if !goodName.MatchString(name) {
		return nil, fmt.Errorf("%w: the name %q (wanted are small letters, digits and hyphens)", errCard, name)
	}
	open, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	public, sign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	p := &person{card: &card{Name: name, Seal: open.PublicKey().Bytes(), Verify: public}, open: open, sign: sign}
	p.Self = ed25519.Sign(sign, p.signed("self"))
	return p, nil
}

// privateKeys encodes the private keys as two blocks of PEM.
func (p *person) privateKeys() ([]byte, error) {
	var out []byte
	for _, key := range []any{p.open, p.sign} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	}
	return out, nil
}

// parsePerson reads private keys, which must be those of c.
func parsePerson(c *card, data []byte) (*person, error) {
	p := &person{card: c}
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		switch key := key.(type) {
		case *ecdh.PrivateKey:
			p.open = key
		case ed25519.PrivateKey:
			p.sign = key
		}
	}
	if p.open == nil || p.sign == nil || !bytes.Equal(p.open.PublicKey().Bytes(), c.Seal) || !bytes.Equal(p.sign.Public().(ed25519.PublicKey), c.Verify) {
		return nil, fmt.Errorf("the private keys are not those of the card of %s", c.Name)
	}
	return p, nil
}

// endorse adds p's word for a card.
func (p *person) endorse(c *card) {
	by := p.fingerprint()
	c.Endorsements = slices.DeleteFunc(c.Endorsements, func(e endorsement) bool { return e.By == by })
	c.Endorsements = append(c.Endorsements, endorsement{By: by, Signature: ed25519.Sign(p.sign, c.signed("endorse"))})
}

// A ring is the cards that somebody has collected, those of impostors included.
type ring []*card

// byFile returns the card kept in the file so called, byID the one with that
// fingerprint; nil if there is none.
func (r ring) byFile(name string) *card {
	i := slices.IndexFunc(r, func(c *card) bool { return c.file == name })
	if i < 0 {
		return nil
	}
	return r[i]
}

func (r ring) byID(fingerprint string) *card {
	i := slices.IndexFunc(r, func(c *card) bool { return c.fingerprint() == fingerprint })
	if i < 0 {
		return nil
	}
	return r[i]
}

// loadRing reads the cards of a directory, in the order of their files.
func loadRing(dir string) (ring, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.card"))
	if err != nil {
		return nil, err
	}
	if len(files) > maxCards {
		return nil, fmt.Errorf("%s: %d cards, more than %d", dir, len(files), maxCards)
	}
	var r ring
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		if info.Size() > maxCardFile {
			return nil, fmt.Errorf("%s: %w: %d bytes, more than %d", file, errCard, info.Size(), maxCardFile)
		}
		data, err := tlsx.ReadFile(file)
		if err != nil {
			return nil, err
		}
		c, err := parseCard(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		c.file = strings.TrimSuffix(filepath.Base(file), ".card")
		r = append(r, c)
	}
	return r, nil
}

// loadPerson reads the private keys to a card of the ring.
func loadPerson(dir string, r ring, file string) (*person, error) {
	c := r.byFile(file)
	if c == nil {
		return nil, fmt.Errorf("%s: no card: %w", filepath.Join(dir, file+".card"), fs.ErrNotExist)
	}
	data, err := tlsx.ReadFile(filepath.Join(dir, file+".key"))
	if err != nil {
		return nil, err
	}
	return parsePerson(c, data)
}

// A belief is why a card is held to belong to who it says.
type belief struct {
	level int      // 0 one's own, 1 endorsed by oneself, 2 by one of those …
	by    []string // names of the endorsers that count
}

// believe finds the cards that p may believe: her own, those that she has
// endorsed, and those that at least need believed cards endorse, at most depth
// steps away. It takes every believed person for a careful endorser, which is
// more than knowing that her key is hers.
func (r ring) believe(p *person, need, depth int) map[*card]belief {
	believed := make(map[*card]belief)
	mine := r.byID(p.fingerprint())
	if mine == nil {
		return believed
	}
	believed[mine] = belief{}
	for level := 1; level <= depth; level++ {
		found := make(map[*card]belief)
		for _, c := range r {
			if _, done := believed[c]; done {
				continue
			}
			by, own := c.endorsers(r, believed), false
			var names []string
			for _, e := range by {
				own = own || e == mine
				names = append(names, e.Name)
			}
			if own || len(by) >= need && need > 0 {
				found[c] = belief{level, names}
			}
		}
		if len(found) == 0 {
			break
		}
		for c, b := range found {
			believed[c] = b
		}
	}
	return believed
}

// endorsers are the believed cards whose endorsements of c are genuine, each
// once.
func (c *card) endorsers(r ring, believed map[*card]belief) (list []*card) {
	for _, e := range c.Endorsements {
		by := r.byID(e.By)
		if by == nil || slices.Contains(list, by) {
			continue
		}
		if _, ok := believed[by]; ok && ed25519.Verify(by.Verify, c.signed("endorse"), e.Signature) {
			list = append(list, by)
		}
	}
	return list
}

// sealedInfo binds what is sealed to this protocol (RFC 9180 section 5.1).
const sealedInfo = "zocalo letter 1"

const (
	maxLetter  = 1 << 20
	letterType = "ZOCALO LETTER"
	letterHead = sha256.Size + ed25519.SignatureSize
	// sealedExtra is what HPKE adds: the sender's half of a key agreement, made
	// for this one letter, and the tag of AES-GCM.
	sealedExtra = 32 + 16
)

var (
	errLetter   = errors.New("not a letter")
	errNotForUs = errors.New("the letter is not for this key, or has been changed")
	errNotHers  = errors.New("the signature is not the sender's for this letter to this recipient")
	errStranger = errors.New("no card with the sender's fingerprint")
)

// write signs a text and seals it for one reader: the hybrid. Only the key
// agreement is of public keys; the text is encrypted with AES-256-GCM under the
// key agreed on.
//
// The recipient stands in what is signed. Otherwise she could open the letter
// and seal it anew for a third, who would take it for one to himself.
func (p *person) write(to *card, text []byte) ([]byte, error) {
	if len(text) > maxLetter {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", errLetter, len(text), maxLetter)
	}
	from, reader := p.id(), to.id()
	signature := ed25519.Sign(p.sign, statement("letter", from[:], reader[:], text))
	return sealFor(to, slices.Concat(from[:], signature, text))
}

// sealFor encrypts for one reader.
func sealFor(to *card, content []byte) ([]byte, error) {
	public, err := ecdh.X25519().NewPublicKey(to.Seal)
	if err != nil {
		return nil, err
	}
	key, err := hpke.NewDHKEMPublicKey(public)
	if err != nil {
		return nil, err
	}
	sealed, err := hpke.Seal(key, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(sealedInfo), content)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: letterType, Bytes: sealed}), nil
}

// read opens a letter to p and returns its sender, a card of the ring, and its
// text. Whether the card is the sender's is another question: see believe.
func (p *person) read(r ring, letter []byte) (from *card, text []byte, err error) {
	block, rest := pem.Decode(letter)
	if block == nil || block.Type != letterType || len(bytes.TrimSpace(rest)) > 0 {
		return nil, nil, fmt.Errorf("%w: no single block %q of PEM", errLetter, letterType)
	}
	if len(block.Bytes) > maxLetter+letterHead+sealedExtra {
		return nil, nil, fmt.Errorf("%w: %d bytes", errLetter, len(block.Bytes))
	}
	key, err := hpke.NewDHKEMPrivateKey(p.open)
	if err != nil {
		return nil, nil, err
	}
	content, err := hpke.Open(key, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte(sealedInfo), block.Bytes)
	if err != nil {
		return nil, nil, errNotForUs
	}
	if len(content) < letterHead {
		return nil, nil, fmt.Errorf("%w: %d bytes inside", errLetter, len(content))
	}
	id, signature, text := content[:sha256.Size], content[sha256.Size:letterHead], content[letterHead:]
	from = r.byID(hex.EncodeToString(id))
	if from == nil {
		return nil, nil, fmt.Errorf("%w %x", errStranger, id)
	}
	reader := p.id()
	if !ed25519.Verify(from.Verify, statement("letter", id, reader[:], text), signature) {
		return nil, nil, errNotHers
	}
	return from, text, nil
}
