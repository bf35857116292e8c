// The dashboard in a real browser: why clients wait, in each of the four ways, as the page says it; and what
// it looks like to those who see little or use no mouse. Listed as not run where there is no Chromium.
import assert from 'node:assert/strict'
import { after, suite, test, type TestContext } from 'node:test'
import { NO_BROWSER, startBrowser } from '../support/browser.ts'
import { ADMIN, type ConsoleRig, STATS } from '../support/console.ts'
import { dashboardPort, startShown, Viewer } from '../support/dashboard-page.ts'
import { Gate } from '../support/gate.ts'
import * as m from '../support/messages.ts'
import type { Overrides } from '../support/pooler.ts'
import { getPostgres } from '../support/postgres.ts'
import { eventually } from '../support/rig.ts'
import { result, type WireClient } from '../support/wire-client.ts'

const ONE: Overrides = { pool: { size: 1 } }

suite('the dashboard in Chromium', { skip: NO_BROWSER || false, concurrency: 2 }, async () => {
  if (NO_BROWSER !== '') return
  const postgres = await getPostgres()
  const browser = await startBrowser()

  /** A client with a name; gone with the test. */
  async function enter(rig: ConsoleRig, name: string): Promise<WireClient> {
    const client = await rig.client({ params: { application_name: name } })
    after(() => client.end())
    return client
  }

  /** Somebody who waits for a server with this. */
  async function wait(rig: ConsoleRig, sql = 'select 8'): Promise<WireClient> {
    const client = await enter(rig, 'the waiter')
    client.send(m.query(sql))
    await eventually(() => rig.test.pooler.gauges().waiting > 0)
    return client
  }

  async function keep(t: TestContext, viewer: Viewer): Promise<void> {
    t.diagnostic(await viewer.shot(t.name.replaceAll(/\W+/g, '-')))
  }

  suite('says why clients wait', { concurrency: 2 }, () => {
    test('the pool is too small', async (t) => {
      const rig = await startShown(postgres, ONE)
      const busy = await enter(rig, 'the busy one')
      busy.send(m.query('select pg_sleep(60)'))
      await eventually(() => rig.test.pooler.gauges().servers.active === 1)
      await wait(rig)
      await using viewer = await Viewer.open(browser, rig)
      const sentence = await viewer.says(
        /1 client waits for a server, since .*because the pool of .* is too small/,
      )
      assert.match(sentence, /since \d\d:\d\d:\d\d \(for \d+ m?s\)/)
      const cause = viewer.cause(/The pool is too small: all its servers are at work/)
      // Once it is not by chance that it is in the way.
      await cause.getByRole('link', { name: /^client/ }).waitFor()
      const card = await viewer.read(cause)
      assert.match(card, /All 1 servers of the pool are in use: 1 active/)
      assert.match(
        card,
        /Most in the way: client \d+ .*active for \d+ m?s.*the busy one.*select pg_sleep\(\?\)/,
      )
      assert.match(card, /What to do: All are at work: raise pool.size, or see SHOW STATEMENTS/)
      await keep(t, viewer)
    })

    test('a client is idle in a transaction', async (t) => {
      const rig = await startShown(postgres, ONE)
      const idler = await enter(rig, 'the idler')
      await idler.query('begin')
      await idler.query("select 'secret', 7")
      await wait(rig)
      await wait(rig)
      await using viewer = await Viewer.open(browser, rig)
      await viewer.says(
        /2 clients wait .*the first since .*client \d+ has begun a transaction and does nothing/,
      )
      const cause = viewer.cause(/A client is idle in a transaction/)
      const card = await viewer.read(cause)
      assert.match(card, /does \| idle in transaction for \d+ m?s, since \d\d:\d\d:\d\d/)
      assert.match(
        card,
        /from \| 127\.0\.0\.1 \| application \| the idler \| last statement \| select '\?', \?/,
      )
      assert.match(card, /What to do: Client \d+ has begun a transaction .*KILL_CLIENT \d+/)
      assert.ok(!card.includes('secret'))
      await keep(t, viewer)
      // All of one client, in words.
      await cause.getByRole('link', { name: /client \d+/ }).click()
      const panel = viewer.page.getByRole('dialog', { name: /^Client \d+$/ })
      await panel.getByText(/It is idle in transaction for .* most in the way: 2 clients wait/).waitFor()
      const all = await viewer.read(panel)
      assert.match(
        all,
        /application \| the idler .*Its server \| server \| number \d+, process \d+ of Postgres/,
      )
      await viewer.shot('client')
    })

    test('a host is down', async (t) => {
      const gate = await Gate.open(postgres)
      const rig = await startShown({ ...postgres, url: gate.url(postgres.url) }, ONE)
      const early = await enter(rig, 'the early one')
      await early.query('select 1')
      await gate.close()
      await wait(rig)
      await using viewer = await Viewer.open(browser, rig)
      await viewer.says(/client waits .*because Postgres behind database \w+ cannot be reached/)
      const card = await viewer.read(viewer.cause(/Postgres cannot be reached/))
      assert.match(card, /No login to Postgres at 127\.0\.0\.1:\d+ has succeeded since .*UTC/)
      assert.match(card, /What to do: Look at Postgres at 127\.0\.0\.1:\d+/)
      const hosts = await viewer.read(viewer.page.getByRole('region', { name: /^Hosts/ }))
      assert.match(hosts, /Hosts 1 cannot be reached .*cannot be reached/)
      await keep(t, viewer)
    })

    test('a pin', async (t) => {
      const rig = await startShown(postgres, ONE)
      const pinner = await enter(rig, 'the pinner')
      await pinner.query('create temp table basket (n int)')
      await wait(rig)
      await using viewer = await Viewer.open(browser, rig)
      await viewer.says(/because client \d+ keeps its server beyond its transactions: temporary objects/)
      const card = await viewer.read(
        viewer.cause(/A client keeps its server beyond its transactions \(a pin\)/),
      )
      assert.match(card, /pinned \(temp\) for .*the pinner.*create temp table basket \(n int\)/)
      assert.match(card, /What to do: Client \d+ keeps its server \(temp\): SHOW PINS; session\.max_pin_time/)
      const heard = viewer.page.getByRole('status').getByText(/1 client waits for a server, since/)
      await heard.waitFor({ state: 'attached' })
      const pins = await viewer.read(viewer.page.getByRole('table', { name: 'Pins' }))
      assert.match(pins, /\| temp \|.*\| create temp table basket \(n int\)/)
      await keep(t, viewer)
    })
  })

  suite('lets an operator act', { concurrency: 2 }, () => {
    test('who has not logged in may not', async () => {
      const rig = await startShown(postgres, ONE)
      const idler = await enter(rig, 'the idler')
      await idler.query('begin')
      await wait(rig)
      await using viewer = await Viewer.open(browser, rig, { expects: /status of 40[13]/ })
      const cause = viewer.cause(/idle in a transaction/)
      const kill = cause.getByRole('button', { name: /^Cut off client/ })
      await kill.waitFor()
      assert.ok(await kill.isDisabled())
      assert.match(await viewer.read(cause), /To act, log in as a user of admin\.users\. ?Log in$/)
      const order = { command: 'KILL_CLIENT', argument: '1' }
      assert.equal(await viewer.post('/dashboard/act', order), 401)
      assert.equal(await viewer.post('/dashboard/login', { ...ADMIN, password: 'a guess' }), 401)
      await viewer.login(STATS)
      assert.ok(await kill.isDisabled())
      assert.match(await viewer.read(cause), /viewer may look only: to act, log in as a user of admin\.users/)
      assert.equal(await viewer.post('/dashboard/act', order), 403)
      assert.equal((await idler.query('select 1')).error, null)
    })

    test('the client in the way is cut off, and who waited goes on', async () => {
      const rig = await startShown(postgres, ONE)
      const idler = await enter(rig, 'the idler')
      await idler.query('begin')
      const waiter = await wait(rig)
      await using viewer = await Viewer.open(browser, rig, { expects: /status of 401/ })
      const { page } = viewer
      await page.getByRole('banner').getByRole('button', { name: 'Log in' }).click()
      const dialog = page.getByRole('dialog', { name: 'Log in' })
      await dialog.getByLabel('User').fill(ADMIN.user)
      await dialog.getByLabel('Password').fill('a guess')
      await page.keyboard.press('Enter')
      await dialog
        .getByRole('alert')
        .getByText(/password authentication failed/)
        .waitFor()
      await page.keyboard.press('Escape')
      await viewer.login(ADMIN)
      const kill = viewer.cause(/idle in a transaction/).getByRole('button', { name: /^Cut off client/ })
      await kill.click()
      const sure = page.getByRole('dialog', { name: /^Cut off client \d+\?$/ })
      assert.match(await viewer.read(sure), /its application reads error 57P01/)
      await sure.getByRole('button', { name: 'Leave it' }).click()
      assert.equal(rig.test.pooler.gauges().waiting, 1)
      await kill.click()
      await sure.getByRole('button', { name: 'KILL_CLIENT' }).click()
      assert.deepEqual(result(await waiter.until()).rows, [['8']])
      assert.equal((await idler.next()).type, 'E')
      await page.getByText(/^Client \d+ is cut off\.$/).waitFor()
      await viewer.says(/^All is well: no client waits\.$/)
      await page
        .locator('#log-lines')
        .getByText(/^dashboard: KILL_CLIENT \d+$/)
        .waitFor()
      await page.getByRole('searchbox', { name: 'Text' }).fill('kill_client')
      assert.match(await page.locator('#log-lines').innerText(), /^[\d:]+ info dashboard: KILL_CLIENT .*$/)
      await page.getByRole('button', { name: 'Log out' }).click()
      await page.getByRole('button', { name: 'Log in' }).first().waitFor()
    })

    test('a database is paused, and goes on', async () => {
      const rig = await startShown(postgres, ONE)
      const client = await enter(rig, 'an application')
      await client.query('begin')
      await using viewer = await Viewer.open(browser, rig)
      await viewer.login(ADMIN)
      const { page } = viewer
      const { database } = postgres
      await page.getByRole('table', { name: 'Pools' }).getByRole('link', { name: database }).click()
      const panel = page.getByRole('dialog', { name: `Database ${database}` })
      const pause = async (): Promise<void> => {
        await panel.getByRole('button', { name: 'Pause' }).click()
        await page.getByRole('button', { name: 'PAUSE', exact: true }).click()
      }
      await pause()
      await page.getByText(`${database} is being paused: transactions may end.`).waitFor()
      assert.ok(await panel.getByRole('button', { name: 'Pause' }).isDisabled(), 'it is under way')
      await panel.getByRole('button', { name: 'Resume' }).click()
      await page.getByText(`${database} goes on.`).waitFor()
      assert.equal((await client.query('commit')).tag, 'COMMIT')
      await pause()
      await page.getByText(`${database} is paused: no server is left.`).waitFor()
      await page.keyboard.press('Escape')
      client.send(m.query('select 9'))
      await viewer.says(new RegExp(`because an operator has paused ${database}`))
      await viewer
        .cause(/Paused by an operator/)
        .getByRole('button', { name: `Resume ${database}` })
        .click()
      assert.deepEqual(result(await client.until()).rows, [['9']])
      await viewer.says(/^All is well/)
      const all = page.getByRole('region', { name: 'Numbers of now' })
      await all.getByRole('button', { name: 'Pause' }).click()
      await page.getByRole('dialog', { name: 'Pause all databases?' }).locator('#confirm-yes').click()
      await viewer.says(/^Everything is paused: nobody waits yet\.$/)
      await all.getByRole('button', { name: 'Resume' }).click()
      await viewer.says(/^All is well/)
    })
  })

  suite('is for everybody', { concurrency: 2 }, () => {
    test('axe finds nothing, in the light and in the dark', async (t) => {
      const rig = await startShown(postgres, ONE)
      const pinner = await enter(rig, 'the pinner')
      await pinner.query('create temp table axe (n int)')
      await pinner.query('select * from nowhere')
      await wait(rig)
      await using viewer = await Viewer.open(browser, rig)
      const { page } = viewer
      await viewer.cause(/a pin/).waitFor()
      assert.deepEqual(await viewer.axe(), [])
      await viewer.login(ADMIN)
      await page.locator('figure').first().getByText('As a table').click()
      await page.locator('#clients').scrollIntoViewIfNeeded()
      await page.getByRole('table', { name: 'Clients' }).getByText('the pinner').waitFor()
      assert.deepEqual(await viewer.axe(), [])
      await keep(t, viewer)
      await page.getByRole('table', { name: 'Clients' }).getByRole('link').first().click()
      await page
        .getByRole('dialog', { name: /^Client/ })
        .getByText('comes from')
        .waitFor()
      await page.getByRole('button', { name: 'Cut off client', exact: true }).click()
      assert.deepEqual(await viewer.axe(), [])
    })

    test('the keyboard is enough', async () => {
      const rig = await startShown(postgres, ONE)
      const idler = await enter(rig, 'the idler')
      await idler.query('begin')
      await wait(rig)
      await using viewer = await Viewer.open(browser, rig)
      const { page } = viewer
      const { keyboard } = page
      const link = viewer.cause(/idle in a transaction/).getByRole('link', { name: /^client/ })
      await link.waitFor()
      const focused = page.locator(':focus')
      await keyboard.press('Tab')
      assert.equal(await focused.innerText(), 'To the state of pgmux')
      assert.ok(await focused.evaluate(isOutlined))
      await keyboard.press('Enter')
      await keyboard.press('Tab')
      assert.match(await focused.innerText(), /^client \d+$/)
      assert.ok(await focused.evaluate(isOutlined))
      await keyboard.press('Enter')
      await page.getByRole('dialog', { name: /^Client/ }).waitFor()
      await keyboard.press('Escape')
      await page.getByRole('dialog').waitFor({ state: 'hidden' })
      assert.match(await focused.innerText(), /^client \d+$/, 'the focus comes back')
      // Pictures come each second, and take nothing from who stands here.
      const seen = await viewer.says(/for \d+\ss/)
      await page.waitForFunction(
        `document.querySelector('#sentence').textContent !== ${JSON.stringify(seen)}`,
      )
      assert.match(await focused.innerText(), /^client \d+$/)
      const sort = page.getByRole('table', { name: 'Pools' }).getByRole('button', { name: 'Database' })
      await sort.focus()
      await keyboard.press('Enter')
      const head = page.getByRole('table', { name: 'Pools' }).locator('[aria-sort=ascending]')
      assert.equal(await head.innerText(), 'Database')
      await page.getByRole('radio', { name: '5 min', exact: true }).focus()
      await keyboard.press('ArrowRight')
      assert.ok(await page.getByRole('radio', { name: '15 min' }).isChecked())
      await page
        .getByRole('img', { name: /^Throughput, per second, the last 15 minutes\. queries: / })
        .waitFor()
    })

    test('it fits a narrow screen, and keeps the appearance that was chosen', async (t) => {
      const rig = await startShown(postgres, ONE)
      const idler = await enter(rig, 'the idler')
      await idler.query('begin')
      await wait(rig)
      await using viewer = await Viewer.open(browser, rig, { viewport: { width: 360, height: 740 } })
      const { page } = viewer
      await viewer.cause(/idle in a transaction/).waitFor()
      assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 360)
      await keep(t, viewer)
      await page.getByLabel('Appearance').selectOption('Dark')
      await page.reload()
      await viewer.says(/client waits/)
      assert.equal(await page.getByLabel('Appearance').inputValue(), 'dark')
      assert.equal(await page.evaluate('getComputedStyle(document.body).colorScheme'), 'dark')
    })
  })

  suite('holds', { concurrency: 2 }, () => {
    test('names and statements stay text', async () => {
      const rig = await startShown(postgres, ONE)
      const name = '<img src=x onerror="document.title=1">'
      const hostile = await enter(rig, name)
      await hostile.query('begin')
      const label = '<script>document.title=1</script>'
      await hostile.query(`select 1 as "${label}"`)
      await wait(rig)
      await using viewer = await Viewer.open(browser, rig)
      const { page } = viewer
      const card = await viewer.read(viewer.cause(/idle in a transaction/))
      assert.ok(card.includes(name) && card.includes(`select ? as "${label}"`), card)
      await page.locator('#clients').scrollIntoViewIfNeeded()
      const row = page.getByRole('table', { name: 'Clients' }).getByRole('row').filter({ hasText: name })
      await row.getByRole('link').click()
      await page
        .getByRole('dialog', { name: /^Client/ })
        .getByText(name)
        .waitFor()
      assert.equal(await page.locator('img, script:not([src])').count(), 0)
      await page.keyboard.press('Escape')
      await page
        .getByRole('region', { name: /^Clients/ })
        .getByLabel('State')
        .selectOption('waiting')
      await row.waitFor({ state: 'hidden' })
      assert.match(await viewer.read(page.getByRole('table', { name: 'Clients' })), /the waiter/)
    })

    test('it comes back after a restart, and asks for the login again', async () => {
      const first = await startShown(postgres)
      const port = dashboardPort(first)
      await using viewer = await Viewer.open(browser, first, { expects: /ERR_CONNECTION|ERR_INCOMPLETE/ })
      await viewer.login(ADMIN)
      await viewer.says(/^All is well/)
      await first.test.stop()
      await viewer.page
        .getByText(/^No connection to pgmux\. .*Trying again\. What you see is of \d\d:/)
        .waitFor()
      await viewer.page.getByText('connection lost').waitFor()
      await viewer.says(/^As of [\d:]+: All is well/)
      const second = await startShown(postgres, { admin: { port } })
      const client = await enter(second, 'after the restart')
      await client.query('select 1')
      await viewer.page.getByText('live', { exact: true }).waitFor()
      await viewer.page.getByRole('banner').getByRole('button', { name: 'Log in' }).waitFor()
      await viewer.page.getByRole('table', { name: 'Pools' }).getByText(postgres.database).first().waitFor()
      assert.ok(await viewer.page.getByText(/^No connection to pgmux/).isHidden())
    })

    test('nothing is shown to those who may not look', async () => {
      const rig = await startShown(postgres, { admin: { dashboard: 'password' } })
      await using viewer = await Viewer.open(browser, rig)
      await viewer.page.getByRole('heading', { name: 'Log in to look' }).waitFor()
      assert.ok(await viewer.page.locator('#content').isHidden())
      const client = await enter(rig, 'the secret one')
      await client.query('select 1')
      await viewer.login(STATS)
      await viewer.says(/^All is well/)
      await viewer.page.locator('#clients').scrollIntoViewIfNeeded()
      await viewer.page.getByText('the secret one').first().waitFor()
      await viewer.page.getByRole('button', { name: 'Log out' }).click()
      await viewer.page.getByRole('heading', { name: 'Log in to look' }).waitFor()
      assert.ok(!(await viewer.page.content()).includes('the secret one'))
    })
  })
})

/** Runs in the page: somebody who looks sees where the focus is. */
function isOutlined(element: object): boolean {
  const { getComputedStyle: styleOf } = globalThis as unknown as {
    getComputedStyle(element: object): { outlineStyle: string; outlineWidth: string }
  }
  const { outlineStyle, outlineWidth } = styleOf(element)
  return outlineStyle !== 'none' && Number.parseFloat(outlineWidth) >= 2
}
