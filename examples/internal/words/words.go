// Package words gives the exercises that spread keys a list of words: Debian's,
// where one is installed, or a small one of its own.
package words

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// dictionaries are where Debian's packages wspanish and wamerican put their
// lists.
var dictionaries = []string{"/usr/share/dict/spanish", "/usr/share/dict/american-english"}

// maxBytes bounds what is read of a list.
const maxBytes = 64 << 20

// Installed returns the files of the word lists that this machine has, perhaps
// none.
func Installed() (files []string) {
	for _, file := range dictionaries {
		if _, err := os.Stat(file); err == nil {
			files = append(files, file)
		}
	}
	return files
}

// Load reads a file of words, one in each line. The empty name stands for
// [Bundled].
func Load(file string) (list []string, err error) {
	if file == "" {
		return Bundled(), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	limited := &io.LimitedReader{R: f, N: maxBytes + 1}
	s := bufio.NewScanner(limited)
	for s.Scan() {
		if word := strings.TrimSpace(s.Text()); word != "" {
			list = append(list, word)
		}
	}
	switch err := s.Err(); {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, err)
	case limited.N == 0:
		return nil, fmt.Errorf("%s: longer than the %d bytes of a word list here", file, maxBytes)
	case len(list) == 0:
		return nil, fmt.Errorf("%s: no words in it", file)
	}
	return list, nil
}

// Bundled returns 2,300 Spanish words: the forms of a hundred regular verbs.
func Bundled() (list []string) {
	for verb := range strings.FieldsSeq(verbs) {
		for ending := range strings.FieldsSeq(endings) {
			list = append(list, verb+ending)
		}
	}
	return list
}

const (
	verbs = `
abandon acab acept aclar acompañ alquil am anot arregl aument avis ayud bail bes borr
brind cambi camin cans cant captur celebr cen cepill charl cocin compar compr conect
consult contest contrat copi cort cre cuid culp dej dese dibuj dud ech emple enseñ entr
escuch esper estudi evit firm form fum gan gast grab grit guard gust habl hall intent
invit jur lav levant llam llen llev llor logr lustr mand maquill mat mir mont nad necesit
not observ olvid orden par pas pein plant pregunt prepar present qued quit reclam regal
respet salud salt separ termin tom trabaj`
	endings = `ar ando ado o as a amos an é aste ó aron aba abas ábamos aban aré arás ará aremos arán aría arían`
)
