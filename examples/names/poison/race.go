package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func race(fs *flag.FlagSet) cli.Action {
	ids := cli.Choice(fs, "ids", "random", "how the resolver chooses `ids`", "random", "sequential")
	bits := cli.Number(fs, "bits", 16, 1, 16, "how many `bits` of an id are used; fewer make the experiment short")
	ports := cli.Number(fs, "ports", 1, 1, 64, "from how `many` ports the resolver asks, chosen at random")
	mix := fs.Bool("mix", false, "the resolver mixes large and small letters (0x20)")
	guesses := cli.Number(fs, "guesses", 32, 1, 4096, "how `many` forged answers arrive before the real one")
	races := cli.Number(fs, "races", 640, 1, 1_000_000, "how `many` times the attacker tries")
	seed := cli.Number(fs, "seed", int64(1), 0, 1<<62, "`number` that decides all chances")
	return func(ctx context.Context, env *cli.Env) error {
		f, err := newField(ctx)
		if err != nil {
			return err
		}
		defer f.close()
		r, err := newOldResolver(f.addr, *ports, rand.New(rand.NewPCG(uint64(*seed), 1)))
		if err != nil {
			return err
		}
		defer r.close()
		r.sequential, r.idBits, r.mix, r.bailiwick = *ids == "sequential", *bits, *mix, true
		attacker := rand.New(rand.NewPCG(uint64(*seed), 2))

		won := 0
		var odds float64
		began := time.Now()
		for i := range *races {
			name := fmt.Sprintf("r%d.bank.test.", i)
			s := space{ids: 1 << *bits, ports: r.ports()}
			if *mix {
				s.letters = countLetters(name)
			}
			if r.sequential {
				// A question about a name in his own zone shows him the id; the
				// next one is no secret then.
				if s.firstID, err = f.peek(ctx, r, i); err != nil {
					return err
				}
				s.firstID++
				s.ids = 1
			}
			if odds, err = f.attack(ctx, r, s, attacker, name, *guesses); err != nil {
				return err
			}
			if r.poisoned() {
				won++
			}
		}
		guarded := fmt.Sprintf("%s ids of %d bits", *ids, *bits)
		if *ports > 1 {
			guarded += fmt.Sprintf(", %d ports", *ports)
		}
		if *mix {
			guarded += ", letters mixed"
		}
		fmt.Fprintf(env.Stdout, "%s; forged answers in each of %d races: %d\n", guarded, *races, *guesses)
		expected := odds * float64(*races)
		_, err = fmt.Fprintf(env.Stdout, "theory: %.4g%% of the races, %.1f ± %.1f; the run: %d won (%v)\n",
			100*odds, expected, math.Sqrt(expected*(1-odds)), won, time.Since(began).Round(time.Millisecond))
		return err
	}
}

// peek makes the resolver ask about a name of the attacker's own, and returns
// the id that his server sees.
func (f *field) peek(ctx context.Context, r *oldResolver, i int) (uint16, error) {
	seen := make(chan uint16, 1)
	f.when(func(_ dnsx.Exchange, query, answer []byte) [][]byte {
		select {
		case seen <- uint16(query[0])<<8 | uint16(query[1]):
		default:
		}
		return [][]byte{answer}
	})
	if _, err := r.resolve(ctx, fmt.Sprintf("look%d.evil.test.", i)); err != nil {
		return 0, err
	}
	return <-seen, nil
}

// attack runs one race: the attacker makes the resolver ask for a name in the
// bank's zone, and his forged answers are there before the real one. It returns
// the odds.
func (f *field) attack(ctx context.Context, r *oldResolver, s space, dice *rand.Rand, name string, guesses int) (float64, error) {
	wire, err := forged(name)
	if err != nil {
		return 0, err
	}
	guesses = int(min(int64(guesses), s.size()))
	first := dice.Int64N(s.size())
	failed := make(chan error, 1)
	f.when(func(q dnsx.Exchange, _, answer []byte) [][]byte {
		// The attacker does not see the query; he knows when it comes, since
		// he has caused it.
		if strings.EqualFold(q.Question.Name, name) {
			failed <- f.shoot(s, wire, first, guesses, r.room)
		}
		return [][]byte{answer}
	})
	if _, err := r.resolve(ctx, name); err != nil {
		return 0, err
	}
	return float64(guesses) / float64(s.size()), <-failed
}

func bailiwick(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		f, err := newField(ctx)
		if err != nil {
			return err
		}
		defer f.close()
		// No race, no guessing: the attacker's own server is asked, and says
		// something about the bank beside the answer.
		f.when(func(_ dnsx.Exchange, _, answer []byte) [][]byte {
			m, err := dnsx.ParseMessage(answer)
			if err != nil {
				return nil
			}
			m.Additional = append(m.Additional, dnsx.Record{Name: target, Type: dnsx.A, TTL: forgedTTL, Data: evilIP})
			if answer, err = m.Pack(); err != nil {
				return nil
			}
			return [][]byte{answer}
		})
		for _, guarded := range []bool{false, true} {
			r, err := newOldResolver(f.addr, 1, rand.New(rand.NewPCG(1, 1)))
			if err != nil {
				return err
			}
			defer r.close()
			r.bailiwick = guarded
			if _, err := r.resolve(ctx, "www.evil.test."); err != nil {
				return err
			}
			what := "believes it"
			if !r.poisoned() {
				what = "does not take it from a server of evil.test."
			}
			fmt.Fprintf(env.Stdout, "www.evil.test. is looked up; the answer adds %q.\n", target+" A "+evilIP)
			fmt.Fprintf(env.Stdout, "  bailiwick checked: %v; the cache %s\n", guarded, what)
		}
		return nil
	}
}

func guard(fs *flag.FlagSet) cli.Action {
	guesses := cli.Number(fs, "guesses", 256, 1, 4096, "how `many` forged answers arrive before the real one")
	races := cli.Number(fs, "races", 200, 1, 100_000, "how `many` times the attacker tries")
	return func(ctx context.Context, env *cli.Env) error {
		f, err := newField(ctx)
		if err != nil {
			return err
		}
		defer f.close()
		for _, knows := range []bool{false, true} {
			won, ignored, tcp := 0, 0, 0
			var size float64
			client := &dnsx.Client{Timeout: patience, Trace: &dnsx.Trace{
				Ignored: func(dnsx.Packet, error) { ignored++ },
				Received: func(p dnsx.Packet) {
					if p.Network == "tcp" {
						tcp++
					}
				},
			}}
			dice := rand.New(rand.NewPCG(1, 2))
			for i := range *races {
				name := fmt.Sprintf("r%d.bank.test.", i)
				lie, err := f.raceClient(ctx, client, name, *guesses, knows, dice)
				if err != nil {
					return err
				}
				if lie {
					won++
				}
				size = float64(guessSpace(name, knows).size())
			}
			what := "ids, ports and letters are random"
			if knows {
				what = "the same, but somebody tells the attacker the port"
			}
			fmt.Fprintf(env.Stdout, "%s: %.2g combinations; forged answers in each of %d races: %d\n", what, size, *races, *guesses)
			// With the port known, no more than eight guesses count.
			counted := float64(*guesses)
			if knows {
				counted = min(counted, maxWrong)
			}
			fmt.Fprintf(env.Stdout, "theory: %.2g races won; the run: %d won, %d forged answers came to the right port, %d questions went over TCP instead\n",
				counted/size*float64(*races), won, ignored, tcp)
		}
		return nil
	}
}

// maxWrong is after how many wrong datagrams a dnsx.Client asks over TCP.
const maxWrong = 8

// firstPort to lastPort are those from which Linux chooses, if it is not told
// otherwise.
const firstPort, lastPort = 32768, 60999

// guessSpace is what has to be guessed about a question of a dnsx.Client.
func guessSpace(name string, portKnown bool) space {
	s := space{ids: 1 << 16, letters: countLetters(name), ports: []uint16{0}}
	if !portKnown {
		s.ports = make([]uint16, 0, lastPort-firstPort+1)
		for port := firstPort; port <= lastPort; port++ {
			s.ports = append(s.ports, uint16(port))
		}
	}
	return s
}

// raceClient runs one race against a client, and reports whether the lie won.
func (f *field) raceClient(ctx context.Context, client *dnsx.Client, name string, guesses int, portKnown bool, dice *rand.Rand) (lie bool, err error) {
	wire, err := forged(name)
	if err != nil {
		return false, err
	}
	s := guessSpace(name, portKnown)
	first := dice.Int64N(s.size())
	failed := make(chan error, 1)
	f.when(func(q dnsx.Exchange, _, answer []byte) [][]byte {
		if q.Server.Network() == "udp" { // the same question may come over TCP
			if portKnown {
				s.ports[0] = q.Client.Port()
			}
			failed <- f.shoot(s, wire, first, guesses, nil)
		}
		return [][]byte{answer}
	})
	response, err := client.Exchange(ctx, f.addr, dnsx.NewQuery(name, dnsx.A))
	if err != nil {
		return false, err
	}
	if err := <-failed; err != nil {
		return false, err
	}
	return len(response.Answer) > 0 && response.Answer[0].Data == evilIP, nil
}

func odds(fs *flag.FlagSet) cli.Action {
	rate := cli.Number(fs, "rate", 125_000, 1, 1_000_000_000, "forged answers a `second`; 125,000 of 100 octets fill 100 Mbit/s")
	window := cli.Number(fs, "window", 20*time.Millisecond, time.Microsecond, time.Minute, "the `time` that the real answer takes")
	return func(_ context.Context, env *cli.Env) error {
		guesses := float64(*rate) * window.Seconds()
		const ids, ports = 1 << 16, lastPort - firstPort + 1
		letters := math.Pow(2, float64(countLetters(target)))
		fmt.Fprintf(env.Stdout, "%d guesses a second, %v until the real answer: %.0f guesses in each race\n", *rate, *window, guesses)
		fmt.Fprintf(env.Stdout, "%-44s %13s %12s %15s\n", "to be guessed", "combinations", "one race", "even odds after")
		for _, row := range []struct {
			what    string
			size    float64
			guesses float64
		}{
			{"nothing: ids are counted, one port", 1, guesses},
			{"the id", ids, guesses},
			{"id and port", ids * ports, guesses},
			{"id, port and the letters of " + target, ids * ports * letters, guesses},
			{"id and letters, the port being known", ids * letters, guesses},
			{"the same, but after 8 wrong ones over TCP", ids * letters, min(guesses, maxWrong)},
		} {
			p := min(1, row.guesses/row.size)
			fmt.Fprintf(env.Stdout, "%-44s %13.4g %11.3g%% %15s\n", row.what, row.size, 100*p, span(evenOdds(p)*window.Seconds()))
		}
		return nil
	}
}

// evenOdds is after how many races it is as likely as not that one was won.
func evenOdds(p float64) float64 {
	if p >= 0.5 {
		return 1
	}
	return math.Ln2 / -math.Log1p(-p)
}

// span tells seconds in the unit that fits.
func span(seconds float64) string {
	for _, unit := range []struct {
		name string
		size float64
	}{{"years", 365.25 * 86400}, {"days", 86400}, {"hours", 3600}, {"minutes", 60}} {
		if seconds >= 2*unit.size {
			return fmt.Sprintf("%.3g %s", seconds/unit.size, unit.name)
		}
	}
	return fmt.Sprintf("%.3g s", seconds)
}
