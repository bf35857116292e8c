// lib/pq behind database/sql: statements prepared under names that count up, transactions on one connection,
// COPY through statements, a listener, cancel by context.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/lib/pq"
	c "pgmux.test/drivers/contract"
)

var ctx = context.Background()
var dsn = "sslmode=disable application_name='e2e " + c.Who + "'"
var table = "items_" + c.Who
var db = open(dsn, 1)

func open(dsn string, most int) *sql.DB {
	db, err := sql.Open("postgres", dsn)
	c.Must(err)
	db.SetMaxOpenConns(most)
	return db
}

func code(err error) string {
	var answer *pq.Error
	if errors.As(err, &answer) {
		return string(answer.Code)
	}
	if err == nil {
		panic("no error came")
	}
	return fmt.Sprintf("%T", err)
}

func number(query string, values ...any) (value int) {
	c.Must(db.QueryRow(query, values...).Scan(&value))
	return
}

type queryer interface {
	Query(string, ...any) (*sql.Rows, error)
}

func shown(in queryer, query string, values ...any) []string {
	rows, err := in.Query(query, values...)
	c.Must(err)
	defer rows.Close()
	columns, _ := rows.Columns()
	row := make([]any, len(columns))
	targets := make([]any, len(columns))
	for i := range row {
		targets[i] = &row[i]
	}
	rows.Next()
	c.Must(rows.Scan(targets...))
	texts := make([]string, len(row))
	for i, value := range row {
		if made, ok := value.(time.Time); ok {
			value = made.UTC()
		}
		texts[i] = fmt.Sprintf("%T %v", value, value)
	}
	return texts
}

func execute(query string, values ...any) error {
	_, err := db.Exec(query, values...)
	return err
}

func connect() any {
	var user, encoding, name string
	query := "select current_user, current_setting('client_encoding'), current_setting('application_name')"
	c.Must(db.QueryRow(query).Scan(&user, &encoding, &name))
	return []string{user, encoding, name}
}

func types() any {
	made := time.Date(2024, 2, 3, 4, 5, 6, 789_000_000, time.UTC)
	list := pq.Array([]sql.NullInt64{{Int64: 1, Valid: true}, {Int64: 2, Valid: true}, {}})
	return append(shown(db, c.Literals), shown(db, c.Parameters, 42, int64(9007199254740993),
		"12345678901234567890.123456789", c.Text, []byte{0, 1, 0xfe, 0xff}, `{"a": [1, 2]}`, made, made, 1.5, true,
		list, pq.Array([]string{"a", `b "c"`}), nil, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "fine")...)
}

func params() any {
	var text string
	var none sql.NullString
	c.Must(db.QueryRow("select $1::text, $2::text", c.Text, nil).Scan(&text, &none))
	query, values := c.Sum()
	if none.Valid {
		panic("null has come back as something")
	}
	return []any{text, nil, number(query, values...)}
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

var statements = map[string]*sql.Stmt{}

func twice(tx *sql.Tx, i int) (texts []string) {
	for _, name := range []string{"one", "two"} {
		if statements[name] == nil {
			made, err := db.Prepare("select '" + c.Who + " ' || $1::text || ' " + name + "'")
			c.Must(err)
			statements[name] = made
		}
		statement := statements[name]
		if tx != nil {
			statement = tx.Stmt(statement)
		}
		var text string
		c.Must(statement.QueryRow(fmt.Sprint(i)).Scan(&text))
		texts = append(texts, text)
	}
	return
}

func prepared() any {
	var texts []string
	for i := 0; i < 20; i++ {
		texts = append(texts, twice(nil, i)...)
	}
	return texts
}

func preparedInTransactions() any {
	texts := twice(nil, 0)
	for i := 1; i < 20; i++ {
		if i%3 == 2 {
			texts = append(texts, twice(nil, i)...)
			continue
		}
		tx, err := db.Begin()
		c.Must(err)
		texts = append(texts, twice(tx, i)...)
		c.Must(tx.Commit())
	}
	return texts
}

func copyIn(lines func(*sql.Stmt) error) error {
	tx, err := db.Begin()
	c.Must(err)
	statement, err := tx.Prepare(pq.CopyIn(table, "id", "body"))
	c.Must(err)
	if err := lines(statement); err != nil {
		statement.Close()
		tx.Rollback()
		return err
	}
	if _, err := statement.Exec(); err != nil {
		statement.Close()
		tx.Rollback()
		return err
	}
	c.Must(statement.Close())
	return tx.Commit()
}

// The driver has no COPY out.
func copies() any {
	c.Must(copyIn(func(statement *sql.Stmt) error {
		for i := 0; i < 5000; i++ {
			if _, err := statement.Exec(i, fmt.Sprintf("%s row %d", c.Who, i)); err != nil {
				return err
			}
		}
		return nil
	}))
	rows, err := db.Query("select id, body from " + table + " order by id")
	c.Must(err)
	digest, count := c.NewDigest(), 0
	for ; rows.Next(); count++ {
		var id int
		var body string
		c.Must(rows.Scan(&id, &body))
		fmt.Fprintf(digest, "%d\t%s\n", id, body)
	}
	c.Must(rows.Err())
	bad := code(copyIn(func(statement *sql.Stmt) error {
		_, err := statement.Exec("seven", "x")
		return err
	}))
	c.Must(execute("truncate " + table))
	return []any{count, digest.String(), bad, number("select 1")}
}

func large() any {
	rows, err := db.Query(c.Large)
	c.Must(err)
	digest, count := c.NewDigest(), 0
	for ; rows.Next(); count++ {
		var text sql.RawBytes
		c.Must(rows.Scan(&text))
		digest.Write(text)
	}
	c.Must(rows.Err())
	var length int
	var sum string
	c.Must(db.QueryRow(c.BigSQL, strings.Repeat("x", 20_000_000)).Scan(&length, &sum))
	return []any{[]any{count, digest.String()}, []any{length, sum}}
}

func cancel() any {
	soon, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	_, err := db.ExecContext(soon, "select pg_sleep(20)")
	return []any{code(err), number("select 1")}
}

func transaction() any {
	tx, err := db.Begin()
	c.Must(err)
	_, err = tx.Exec("insert into " + table + " values (1, 'kept')")
	c.Must(err)
	pids := map[int]bool{}
	for i := 0; i < 3; i++ {
		var pid int
		c.Must(tx.QueryRow("select pg_backend_pid()").Scan(&pid))
		pids[pid] = true
	}
	c.Must(tx.Commit())
	count := "select count(*) from " + table
	committed := number(count)
	tx, err = db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
	c.Must(err)
	_, err = tx.Exec("insert into "+table+" values ($1, 'not kept')", 2)
	c.Must(err)
	c.Must(tx.Rollback())
	left := number(count)
	c.Must(execute("delete from " + table))
	return []any{committed, left, len(pids) == 1}
}

func savepoints() any {
	insert := "insert into " + table + " values ($1, 'x')"
	tx, err := db.Begin()
	c.Must(err)
	run := func(query string, values ...any) error {
		_, err := tx.Exec(query, values...)
		return err
	}
	c.Must(run(insert, 1))
	c.Must(run("savepoint s"))
	failed := code(run(insert, 1))
	c.Must(run("rollback to savepoint s"))
	c.Must(run(insert, 3))
	c.Must(tx.Commit())
	rows, err := db.Query("delete from " + table + " returning id")
	c.Must(err)
	ids := []int{}
	for rows.Next() {
		var id int
		c.Must(rows.Scan(&id))
		ids = append(ids, id)
	}
	return []any{failed, ids}
}

func failed() any {
	tx, err := db.Begin()
	c.Must(err)
	_, first := tx.Exec("select 1/0")
	_, second := tx.Exec("select 1")
	c.Must(tx.Rollback())
	return []any{code(first), code(second), number("select 1")}
}

// The driver has no cursors of its own: SQL's.
func cursor() any {
	tx, err := db.Begin()
	c.Must(err)
	_, err = tx.Exec("declare c cursor for select i from generate_series(1, 250) i")
	c.Must(err)
	sizes, total := []int{}, 0
	for {
		rows, err := tx.Query("fetch 100 from c")
		c.Must(err)
		size := 0
		for ; rows.Next(); size++ {
			var value int
			c.Must(rows.Scan(&value))
			total += value
		}
		if size == 0 {
			break
		}
		sizes = append(sizes, size)
	}
	c.Must(tx.Commit())
	return []any{sizes, total}
}

func pool() any {
	db := open(dsn, 2)
	defer db.Close()
	var workers sync.WaitGroup
	sums := make([]int, 4)
	for worker := range sums {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for i := 0; i < 10; i++ {
				tx, err := db.Begin()
				c.Must(err)
				var value int
				c.Must(tx.QueryRow("select $1::int", worker).Scan(&value))
				c.Must(tx.Commit())
				sums[worker] += value
			}
		}()
	}
	workers.Wait()
	return sums[0] + sums[1] + sums[2] + sums[3]
}

func timeouts() any {
	tx, err := db.Begin()
	c.Must(err)
	_, err = tx.Exec("set local statement_timeout = 100")
	c.Must(err)
	_, local := tx.Exec("select pg_sleep(5)")
	c.Must(tx.Rollback())
	other := open(dsn+" statement_timeout=100", 1)
	_, startup := other.Exec("select pg_sleep(5)")
	c.Must(other.Close())
	return []any{code(local), code(startup), number("select 1")}
}

func ddl() any {
	query := "select * from shape_" + c.Who
	read := func(statement *sql.Stmt) any {
		rows, err := statement.Query()
		if err != nil {
			return code(err)
		}
		defer rows.Close()
		columns, _ := rows.Columns()
		rows.Next()
		if err := rows.Err(); err != nil {
			return code(err)
		}
		return len(columns)
	}
	mine, err := db.Prepare(query)
	c.Must(err)
	reads := []any{read(mine)}
	c.Must(execute("alter table shape_" + c.Who + " add column extra text"))
	other := open(dsn, 1)
	theirs, err := other.Prepare(query)
	if err != nil {
		reads = append(reads, code(err))
	} else {
		reads = append(reads, read(theirs))
	}
	c.Must(other.Close())
	return append(reads, read(mine), read(mine))
}

// database/sql connects anew by itself where the driver finds its connection broken.
func reconnect() any {
	err := execute("select pg_terminate_backend(pg_backend_pid())")
	return []any{code(err), number("select 1")}
}

func listen() any {
	listener := pq.NewListener(dsn, time.Second, time.Second, nil)
	defer listener.Close()
	c.Must(listener.Listen("news_" + c.Who))
	c.Must(execute("select pg_notify($1, $2)", "news_"+c.Who, "news for "+c.Who))
	return (<-listener.Notify).Extra
}

func main() {
	c.Run(map[string]func() any{
		"connect": connect, "types": types, "params": params, "errors": failures, "prepared": prepared,
		"prepared_tx": preparedInTransactions, "copy": copies, "large": large, "cancel": cancel,
		"transaction": transaction, "savepoints": savepoints, "failed": failed, "cursor": cursor, "pool": pool,
		"timeout": timeouts, "ddl": ddl, "reconnect": reconnect, "listen": listen,
	})
	c.Must(db.Close())
}
