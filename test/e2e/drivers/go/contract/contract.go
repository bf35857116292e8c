// Package contract is what the two Go drivers share: the order of the steps, and values. The steps are those
// of ../../README.md.
package contract

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"os"
	"strings"
)

var Who = os.Getenv("WHO")

const Text = "café ☃ \\ ' \" $1 %s"

var Literals = `select 42::int, 9007199254740993::bigint, 12345678901234567890.123456789::numeric, 'x'::text,
  '\x0001feff'::bytea, '{"a": [1, 2]}'::json, '{"a": [1, 2]}'::jsonb,
  '2024-02-03 04:05:06.789+00'::timestamptz, '2024-02-29'::date, 1.5::float8, true, '{1,2,NULL}'::int[],
  array['a', 'b "c"'], null::int, '6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid, 'fine'::mood_` + Who

var Parameters = `select $1::int, $2::bigint, $3::numeric, $4::text, $5::bytea, $6::jsonb, $7::timestamptz,
  $8::date, $9::float8, $10::bool, $11::int[], $12::text[], $13::int, $14::uuid, $15::mood_` + Who

const Large = "select repeat(chr(97 + i % 26), 100000) from generate_series(0, 199) i"
const BigSQL = "select length(t), md5(t) from (select $1::text) as given(t)"

// Sum of a hundred parameters.
func Sum() (string, []any) {
	var terms []string
	var values []any
	for i := 1; i <= 100; i++ {
		terms = append(terms, fmt.Sprintf("$%d::int", i))
		values = append(values, i)
	}
	return "select " + strings.Join(terms, " + "), values
}

// Must ends the program where something failed that must not.
func Must(err error) {
	if err != nil {
		panic(err)
	}
}

// Digest is an MD5 that takes texts.
type Digest struct{ hash hash.Hash }

func NewDigest() Digest { return Digest{md5.New()} }

func (d Digest) Write(data []byte) (int, error) { return d.hash.Write(data) }

func (d Digest) String() string { return hex.EncodeToString(d.hash.Sum(nil)) }

// Run does the steps that are wanted.
func Run(steps map[string]func() any) {
	encoder := json.NewEncoder(os.Stdout)
	for _, step := range strings.Split(os.Getenv("STEPS"), ",") {
		var saw any = "absent"
		if act, found := steps[step]; found {
			saw = act()
		}
		Must(encoder.Encode(map[string]any{"step": step, "saw": saw}))
	}
}
