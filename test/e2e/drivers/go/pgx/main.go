// pgx: statements prepared by name and cached by text, all its query modes, batches, pgxpool, COPY both ways,
// cancel requests.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	c "pgmux.test/drivers/contract"
)

var ctx = context.Background()
var table = "items_" + c.Who
var conn = open(nil)

func open(settings map[string]string) *pgx.Conn {
	config, err := pgx.ParseConfig("sslmode=disable")
	c.Must(err)
	config.RuntimeParams["application_name"] = "e2e " + c.Who
	for name, value := range settings {
		config.RuntimeParams[name] = value
	}
	made, err := pgx.ConnectConfig(ctx, config)
	c.Must(err)
	return made
}

func code(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code
	}
	if err == nil {
		panic("no error came")
	}
	return fmt.Sprintf("%T", err)
}

func number(query string, values ...any) (value int) {
	c.Must(conn.QueryRow(ctx, query, values...).Scan(&value))
	return
}

func execute(query string, values ...any) error {
	_, err := conn.Exec(ctx, query, values...)
	return err
}

func shown(query string, values ...any) (texts []string) {
	rows, err := conn.Query(ctx, query, values...)
	c.Must(err)
	row, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
	c.Must(err)
	for _, value := range row {
		switch typed := value.(type) {
		case time.Time:
			value = typed.UTC()
		case pgtype.Numeric:
			value = fmt.Sprint(typed.Int, "e", typed.Exp)
		}
		texts = append(texts, fmt.Sprintf("%T %v", value, value))
	}
	return
}

func connect() any {
	config := conn.Config()
	return []string{config.User, conn.PgConn().ParameterStatus("client_encoding"), name()}
}

func name() (name string) {
	c.Must(conn.QueryRow(ctx, "show application_name").Scan(&name))
	return
}

func types() any {
	made := time.Date(2024, 2, 3, 4, 5, 6, 789_000_000, time.UTC)
	one, two := 1, 2
	given := []any{42, int64(9007199254740993), "12345678901234567890.123456789", c.Text,
		[]byte{0, 1, 0xfe, 0xff}, map[string]any{"a": []int{1, 2}}, made, made, 1.5, true, []*int{&one, &two, nil},
		[]string{"a", `b "c"`}, nil, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "fine"}
	texts := append(shown(c.Literals), shown(c.Parameters, given...)...)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec} {
		texts = append(texts, shown(c.Parameters, append([]any{mode}, given...)...)...)
	}
	return texts
}

func params() any {
	var text string
	var none *string
	modes := []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe,
		pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol}
	sums := map[int]bool{}
	query, values := c.Sum()
	for _, mode := range modes {
		c.Must(conn.QueryRow(ctx, "select $1::text, $2::text", mode, c.Text, nil).Scan(&text, &none))
		sums[number(query, append([]any{mode}, values...)...)] = true
		if text != c.Text || none != nil || len(sums) != 1 {
			panic(fmt.Sprint("mode ", mode, ": ", text, none, sums))
		}
	}
	return []any{text, none, number(query, values...)}
}

func failures() any {
	insert := "insert into " + table + " values ($1, 'x')"
	c.Must(execute(insert, 9000))
	codes := []any{
		code(execute(insert, 9000)),
		code(execute("select * from nowhere")),
		code(execute("select 1 / $1::int", 0)),
	}
	c.Must(execute("delete from " + table))
	return append(codes, number("select 1"))
}

// The same names in both programs.
func twice(i int) (texts []string) {
	for _, name := range []string{"one", "two"} {
		_, err := conn.Prepare(ctx, name, "select '"+c.Who+" ' || $1::text || ' "+name+"'")
		c.Must(err)
		var text string
		c.Must(conn.QueryRow(ctx, name, fmt.Sprint(i)).Scan(&text))
		texts = append(texts, text)
	}
	return
}

func prepared() any {
	var texts []string
	for i := 0; i < 20; i++ {
		texts = append(texts, twice(i)...)
	}
	return texts
}

func preparedInTransactions() any {
	var texts []string
	for i := 0; i < 20; i++ {
		if i%3 == 2 {
			texts = append(texts, twice(i)...)
			continue
		}
		c.Must(pgx.BeginFunc(ctx, conn, func(pgx.Tx) error {
			texts = append(texts, twice(i)...)
			return nil
		}))
	}
	return texts
}

func pipeline() any {
	batch := &pgx.Batch{}
	for i := 0; i < 10; i++ {
		batch.Queue("select $1::text", fmt.Sprint(c.Who, " ", i))
	}
	results := conn.SendBatch(ctx, batch)
	values := make([]string, 10)
	for i := range values {
		c.Must(results.QueryRow().Scan(&values[i]))
	}
	c.Must(results.Close())
	failing := &pgx.Batch{}
	for _, divisor := range []int{1, 0, 2} {
		failing.Queue("select 1 / $1::int", divisor)
	}
	return []any{values, code(conn.SendBatch(ctx, failing).Close()), number("select 1")}
}

func copies() any {
	count, err := conn.CopyFrom(ctx, pgx.Identifier{table}, []string{"id", "body"},
		pgx.CopyFromSlice(5000, func(i int) ([]any, error) {
			return []any{i, fmt.Sprintf("%s row %d", c.Who, i)}, nil
		}))
	c.Must(err)
	digest := c.NewDigest()
	_, err = conn.PgConn().CopyTo(ctx, digest, "copy (select id, body from "+table+" order by id) to stdout")
	c.Must(err)
	bad := bytes.NewBufferString("seven\tx\n")
	_, err = conn.PgConn().CopyFrom(ctx, bad, "copy "+table+" from stdin")
	failed := code(err)
	c.Must(execute("truncate " + table))
	return []any{count, digest.String(), failed, number("select 1")}
}

func large() any {
	rows, err := conn.Query(ctx, c.Large)
	c.Must(err)
	digest, count := c.NewDigest(), 0
	for ; rows.Next(); count++ {
		digest.Write(rows.RawValues()[0])
	}
	c.Must(rows.Err())
	var length int
	var sum string
	c.Must(conn.QueryRow(ctx, c.BigSQL, strings.Repeat("x", 20_000_000)).Scan(&length, &sum))
	return []any{[]any{count, digest.String()}, []any{length, sum}}
}

func cancel() any {
	timer := time.AfterFunc(300*time.Millisecond, func() { c.Must(conn.PgConn().CancelRequest(ctx)) })
	defer timer.Stop()
	return []any{code(execute("select pg_sleep(20)")), number("select 1")}
}

func transaction() any {
	tx, err := conn.Begin(ctx)
	c.Must(err)
	c.Must(execute("insert into " + table + " values (1, 'kept')"))
	pids := map[int]bool{}
	for i := 0; i < 3; i++ {
		pids[number("select pg_backend_pid()")] = true
	}
	c.Must(tx.Commit(ctx))
	count := "select count(*) from " + table
	committed := number(count)
	tx, err = conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
	c.Must(err)
	c.Must(execute("insert into "+table+" values ($1, 'not kept')", 2))
	c.Must(tx.Rollback(ctx))
	left := number(count)
	c.Must(execute("delete from " + table))
	return []any{committed, left, len(pids) == 1}
}

func savepoints() any {
	insert := "insert into " + table + " values ($1, 'x')"
	var failed string
	c.Must(pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		c.Must(execute(insert, 1))
		failed = code(pgx.BeginFunc(ctx, tx, func(pgx.Tx) error { return execute(insert, 1) }))
		return execute(insert, 3)
	}))
	rows, err := conn.Query(ctx, "delete from "+table+" returning id")
	c.Must(err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	c.Must(err)
	return []any{failed, ids}
}

func failed() any {
	tx, err := conn.Begin(ctx)
	c.Must(err)
	codes := []any{code(execute("select 1/0")), code(execute("select 1"))}
	c.Must(tx.Rollback(ctx))
	return append(codes, number("select 1"))
}

// The driver has no cursors of its own: SQL's.
func cursor() any {
	sizes, total := []int{}, 0
	c.Must(pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		c.Must(execute("declare c cursor for select i from generate_series(1, 250) i"))
		for {
			rows, err := tx.Query(ctx, "fetch 100 from c")
			c.Must(err)
			values, err := pgx.CollectRows(rows, pgx.RowTo[int])
			c.Must(err)
			if len(values) == 0 {
				return nil
			}
			sizes = append(sizes, len(values))
			for _, value := range values {
				total += value
			}
		}
	}))
	return []any{sizes, total}
}

func pool() any {
	pool, err := pgxpool.New(ctx, "sslmode=disable pool_max_conns=2")
	c.Must(err)
	defer pool.Close()
	var workers sync.WaitGroup
	sums := make([]int, 4)
	for worker := range sums {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for i := 0; i < 10; i++ {
				c.Must(pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
					var value int
					err := tx.QueryRow(ctx, "select $1::int", worker).Scan(&value)
					sums[worker] += value
					return err
				}))
			}
		}()
	}
	workers.Wait()
	return sums[0] + sums[1] + sums[2] + sums[3]
}

func timeouts() any {
	tx, err := conn.Begin(ctx)
	c.Must(err)
	c.Must(execute("set local statement_timeout = 100"))
	local := code(execute("select pg_sleep(5)"))
	c.Must(tx.Rollback(ctx))
	other := open(map[string]string{"statement_timeout": "100"})
	_, startup := other.Exec(ctx, "select pg_sleep(5)")
	c.Must(other.Close(ctx))
	return []any{local, code(startup), number("select 1")}
}

func ddl() any {
	query := "select * from shape_" + c.Who
	read := func(in *pgx.Conn) any {
		rows, err := in.Query(ctx, query)
		if err != nil {
			return code(err)
		}
		columns := 0
		for rows.Next() {
			columns = len(rows.RawValues())
			if len(rows.FieldDescriptions()) != columns {
				panic("a row that does not fit its description")
			}
		}
		if rows.Err() != nil {
			return code(rows.Err())
		}
		return columns
	}
	reads := []any{read(conn)}
	c.Must(execute("alter table shape_" + c.Who + " add column extra text"))
	other := open(nil)
	reads = append(reads, read(other))
	c.Must(other.Close(ctx))
	return append(reads, read(conn), read(conn))
}

func reconnect() any {
	killed := code(execute("select pg_terminate_backend(pg_backend_pid())"))
	if conn.IsClosed() {
		conn = open(nil)
	}
	return []any{killed, number("select 1")}
}

func listen() any {
	c.Must(execute("listen news_" + c.Who))
	other := open(nil)
	_, err := other.Exec(ctx, "select pg_notify($1, $2)", "news_"+c.Who, "news for "+c.Who)
	c.Must(err)
	c.Must(other.Close(ctx))
	news, err := conn.WaitForNotification(ctx)
	c.Must(err)
	return news.Payload
}

func main() {
	c.Run(map[string]func() any{
		"connect": connect, "types": types, "params": params, "errors": failures, "prepared": prepared,
		"prepared_tx": preparedInTransactions, "pipeline": pipeline, "copy": copies, "large": large,
		"cancel": cancel, "transaction": transaction, "savepoints": savepoints, "failed": failed,
		"cursor": cursor, "pool": pool, "timeout": timeouts, "ddl": ddl, "reconnect": reconnect, "listen": listen,
	})
	c.Must(conn.Close(ctx))
}
