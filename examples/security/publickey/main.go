// T8 publickey: public-key cryptography by hand, on numbers that fit on a
// blackboard, and then properly: letters sealed and signed, cards with keys,
// and friends who vouch for them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/tlsx"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "publickey",
		Summary: "Public-key cryptography by hand and then properly, and what it costs.",
		Example: `
go run ./examples/security/publickey rsa -p 61 -q 53 -text hola
go run ./examples/security/publickey card -dir cards -name ana
go run ./examples/security/publickey endorse -dir cards -as ana -who luis -fingerprint 4f2c…
go run ./examples/security/publickey write -dir cards -as ana -to luis -text "until tomorrow" -out letter.pem
go run ./examples/security/publickey read -dir cards -as luis letter.pem
`,
		Commands: []cli.Command{
			{Name: "rsa", Summary: "RSA by hand, on small primes", Setup: toyRSA},
			{Name: "oneway", Summary: "multiplying against factoring: a function that goes one way only", Setup: oneWay},
			{Name: "card", Summary: "makes somebody's keys and her card", Setup: makeCard},
			{Name: "cards", Summary: "lists the cards of a directory, and which of them one may believe", Setup: listCards},
			{Name: "endorse", Summary: "vouches for a card whose fingerprint one has compared", Setup: endorse},
			{Name: "write", Summary: "signs a letter and seals it for one reader", Setup: write},
			{Name: "read", Summary: "opens a letter, and says whose it is and why that may be believed", Args: "FILE", Setup: read},
			{Name: "cost", Summary: "what public-key operations cost against symmetric ones", Setup: cost},
			{Name: "demo", Summary: "all of it", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func makeCard(fs *flag.FlagSet) cli.Action {
	dir := fs.String("dir", "", "the `directory` of the cards")
	name := fs.String("name", "", "the `name` on the card")
	file := fs.String("file", "", "call the files so, instead of after the `name`: nobody checks what it says on a card")
	return func(_ context.Context, env *cli.Env) error {
		if *file == "" {
			*file = *name
		}
		if *dir == "" || !goodName.MatchString(*name) || !goodName.MatchString(*file) {
			return cli.Usagef("-dir and -name are needed, the name in small letters, digits and hyphens")
		}
		if err := os.MkdirAll(*dir, 0o700); err != nil {
			return err
		}
		p, err := newPerson(*name)
		if err != nil {
			return err
		}
		private, err := p.privateKeys()
		if err != nil {
			return err
		}
		public, err := p.encode()
		if err != nil {
			return err
		}
		if err := tlsx.WriteFile(filepath.Join(*dir, *file+".key"), private, 0o600, false); err != nil {
			return err
		}
		if err := tlsx.WriteFile(filepath.Join(*dir, *file+".card"), public, 0o644, false); err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.Stdout, "%s.card: %s, fingerprint %s\n", *file, *name, p.fingerprint())
		return err
	}
}

// trustFlags declares how much it takes to believe a card.
func trustFlags(fs *flag.FlagSet) (need, depth *int) {
	need = cli.Number(fs, "need", 1, 1, 100, "believe a card if so `many` believed people endorse it")
	depth = cli.Number(fs, "depth", 3, 1, 10, "and at most so many `steps` away")
	return need, depth
}

// why says why a card is believed.
func (b belief) why() string {
	switch b.level {
	case 0:
		return "it is one's own"
	case 1:
		return "one has compared the fingerprint oneself"
	}
	return fmt.Sprintf("%s vouched for it, step %d", strings.Join(b.by, " and "), b.level)
}

func listCards(fs *flag.FlagSet) cli.Action {
	dir := fs.String("dir", "", "the `directory` of the cards")
	as := fs.String("as", "", "whose `eyes` to look with; without, nothing is said about belief")
	need, depth := trustFlags(fs)
	return func(_ context.Context, env *cli.Env) error {
		if *dir == "" {
			return cli.Usagef("-dir is needed")
		}
		r, err := loadRing(*dir)
		if err != nil {
			return err
		}
		var believed map[*card]belief
		if *as != "" {
			p, err := loadPerson(*dir, r, *as)
			if err != nil {
				return err
			}
			believed = r.believe(p, *need, *depth)
		}
		for _, c := range r {
			line := fmt.Sprintf("%s.card: %s, fingerprint %s", c.file, c.Name, c.fingerprint())
			if *as != "" {
				line = fmt.Sprintf("%s.card: %s, %.16s…: ", c.file, c.Name, c.fingerprint())
				if b, ok := believed[c]; ok {
					line += "believed, " + b.why()
				} else {
					line += "NOT believed, nobody whom one believes vouches for it"
				}
			}
			if _, err := fmt.Fprintln(env.Stdout, line); err != nil {
				return err
			}
		}
		return nil
	}
}

func endorse(fs *flag.FlagSet) cli.Action {
	dir := fs.String("dir", "", "the `directory` of the cards")
	as := fs.String("as", "", "`who` vouches")
	who := fs.String("who", "", "for whose `card`")
	fingerprint := fs.String("fingerprint", "", "the card's fingerprint as its `owner` has told it, face to face or over the telephone")
	return func(_ context.Context, env *cli.Env) error {
		if *dir == "" || *as == "" || *who == "" || *fingerprint == "" {
			return cli.Usagef("-dir, -as, -who and -fingerprint are needed: endorse only what you have compared")
		}
		r, err := loadRing(*dir)
		if err != nil {
			return err
		}
		p, err := loadPerson(*dir, r, *as)
		if err != nil {
			return err
		}
		c := r.byFile(*who)
		if c == nil {
			return fmt.Errorf("%s: no such card", filepath.Join(*dir, *who+".card"))
		}
		if c.fingerprint() != strings.ToLower(*fingerprint) {
			return fmt.Errorf("the card of %s in %s.card has another fingerprint: it is not the one that you were told of", c.Name, *who)
		}
		p.endorse(c)
		data, err := c.encode()
		if err != nil {
			return err
		}
		if len(c.Endorsements) > maxEndorsements || len(data) > maxCardFile {
			return fmt.Errorf("the card of %s has no room for another endorsement", c.Name)
		}
		if err := tlsx.WriteFile(filepath.Join(*dir, *who+".card"), data, 0o644, true); err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.Stdout, "%s vouches for the card of %s\n", p.Name, c.Name)
		return err
	}
}

func write(fs *flag.FlagSet) cli.Action {
	dir := fs.String("dir", "", "the `directory` of the cards")
	as := fs.String("as", "", "`who` writes")
	to := fs.String("to", "", "to whose `card`")
	text := fs.String("text", "", "the `letter`; without, standard input")
	out := fs.String("out", "", "write it to this `file`; without, to standard output")
	need, depth := trustFlags(fs)
	stranger := fs.Bool("stranger", false, "write also to a card that one has no reason to believe")
	return func(_ context.Context, env *cli.Env) error {
		if *dir == "" || *as == "" || *to == "" {
			return cli.Usagef("-dir, -as and -to are needed")
		}
		r, err := loadRing(*dir)
		if err != nil {
			return err
		}
		p, err := loadPerson(*dir, r, *as)
		if err != nil {
			return err
		}
		c := r.byFile(*to)
		if c == nil {
			return fmt.Errorf("%s: no such card", filepath.Join(*dir, *to+".card"))
		}
		if _, ok := r.believe(p, *need, *depth)[c]; !ok && !*stranger {
			return fmt.Errorf("nobody whom %s believes vouches for the card of %s in %s.card: it may be an impostor's (-stranger writes nevertheless)", p.Name, c.Name, c.file)
		}
		content := []byte(*text)
		if !cli.Given(fs, "text") {
			if content, err = io.ReadAll(io.LimitReader(env.Stdin, maxLetter+1)); err != nil {
				return err
			}
		}
		letter, err := p.write(c, content)
		if err != nil {
			return err
		}
		if *out == "" {
			_, err = env.Stdout.Write(letter)
			return err
		}
		if err := tlsx.WriteFile(*out, letter, 0o644, false); err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.Stdout, "%d bytes of text; sealed with them the writer's fingerprint (32) and signature (64); around them a public key for this letter alone (32) and the tag of AES-GCM (16): %d\n",
			len(content), len(content)+letterHead+sealedExtra)
		return err
	}
}

func read(fs *flag.FlagSet) cli.Action {
	dir := fs.String("dir", "", "the `directory` of the cards")
	as := fs.String("as", "", "`who` reads")
	need, depth := trustFlags(fs)
	stranger := fs.Bool("stranger", false, "show also what is signed with a card that one has no reason to believe")
	return func(_ context.Context, env *cli.Env) error {
		if *dir == "" || *as == "" || len(env.Args) != 1 {
			return cli.Usagef("-dir, -as and the file of one letter are needed")
		}
		r, err := loadRing(*dir)
		if err != nil {
			return err
		}
		p, err := loadPerson(*dir, r, *as)
		if err != nil {
			return err
		}
		letter, err := tlsx.ReadFile(env.Args[0])
		if err != nil {
			return err
		}
		from, text, err := p.read(r, letter)
		if err != nil {
			return err
		}
		b, ok := r.believe(p, *need, *depth)[from]
		switch {
		case ok:
			fmt.Fprintf(env.Stdout, "signed by %s; the card is believed: %s\n", from.Name, b.why())
		case *stranger:
			fmt.Fprintf(env.Stdout, "signed by somebody who calls himself %s (%s.card), for whom nobody vouches\n", from.Name, from.file)
		default:
			return fmt.Errorf("signed by somebody who calls himself %s (%s.card), for whom nobody vouches whom %s believes (-stranger shows it nevertheless)", from.Name, from.file, p.Name)
		}
		_, err = fmt.Fprintf(env.Stdout, "%q\n", text)
		return err
	}
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		dir, err := os.MkdirTemp("", "publickey")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		play := func(want string, args ...string) (string, error) {
			out, err := env.Play(ctx, "", args...)
			if err == nil && !strings.Contains(out, want) {
				err = fmt.Errorf("%s does not say %q", args[0], want)
			}
			return out, err
		}
		refused := func(args ...string) error {
			_, err := env.Play(ctx, "", args...)
			if err == nil {
				return errors.New("it should have been refused")
			}
			_, err = fmt.Fprintf(env.Stdout, "  %s: %s\n", args[0], cli.Explain(err))
			return err
		}
		if _, err := play("d = 2753", "rsa"); err != nil {
			return err
		}
		if _, err := play("divisions", "oneway", "-bits", "20"); err != nil {
			return err
		}
		// Ana knows Luis, Luis knows Rosa; and somebody else says he is Rosa.
		fingerprints := make(map[string]string)
		for _, who := range []string{"ana", "luis", "rosa", "impostor"} {
			name := who
			if who == "impostor" {
				name = "rosa"
			}
			out, err := play("fingerprint", "card", "-dir", dir, "-name", name, "-file", who)
			if err != nil {
				return err
			}
			_, fingerprint, _ := strings.Cut(strings.TrimSpace(out), "fingerprint ")
			fingerprints[who] = fingerprint
		}
		for _, pair := range [][2]string{{"ana", "luis"}, {"luis", "rosa"}, {"rosa", "luis"}} {
			if _, err := play("vouches", "endorse", "-dir", dir, "-as", pair[0], "-who", pair[1], "-fingerprint", fingerprints[pair[1]]); err != nil {
				return err
			}
		}
		if err := refused("endorse", "-dir", dir, "-as", "ana", "-who", "impostor", "-fingerprint", fingerprints["rosa"]); err != nil {
			return err
		}
		if _, err := play("rosa.card: rosa, "+fingerprints["rosa"][:16]+"…: believed, luis vouched", "cards", "-dir", dir, "-as", "ana"); err != nil {
			return err
		}
		letter := filepath.Join(dir, "letter.pem")
		if err := refused("write", "-dir", dir, "-as", "ana", "-to", "impostor", "-text", "until tomorrow"); err != nil {
			return err
		}
		if _, err := play("sealed", "write", "-dir", dir, "-as", "ana", "-to", "rosa", "-text", "until tomorrow", "-out", letter); err != nil {
			return err
		}
		if err := refused("read", "-dir", dir, "-as", "impostor", letter); err != nil {
			return err
		}
		// Rosa has no way to Ana yet: nobody whom she believes vouches for her.
		if err := refused("read", "-dir", dir, "-as", "rosa", letter); err != nil {
			return err
		}
		if _, err := play("vouches", "endorse", "-dir", dir, "-as", "luis", "-who", "ana", "-fingerprint", fingerprints["ana"]); err != nil {
			return err
		}
		if _, err := play("until tomorrow", "read", "-dir", dir, "-as", "rosa", letter); err != nil {
			return err
		}
		_, err = play("RSA-2048 decrypt", "cost", "-time", "5ms")
		return err
	}
}
