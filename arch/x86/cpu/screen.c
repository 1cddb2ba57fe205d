#include "arch/x86/cpu/console.h"

#include "arch/x86/cpu/font.h"
#include "hv/lib.h"

/*
 * One buffer of characters, shown by text mode or by drawing glyphs. Writing only changes the
 * buffer, a ring of rows; screen_poll() compares it with the screen and draws the differences, a
 * few at a time: a framebuffer is slow, and guests wait meanwhile. Reading video memory back would
 * be slower still.
 */
#define COLUMNS_MAX  160u
#define ROWS_MAX     64u
#define TEXT_MEMORY  0xb8000u
#define TEXT_COLUMNS 80u
#define TEXT_ROWS    25u
#define TEXT_COLOUR  0x0700u /* light grey on black */
#define PIXEL_COLOUR 0x00c8c8c8u
#define CELL_WIDTH   8u
#define CELL_HEIGHT  16u
#define POLL_GLYPHS  2u /* pixel by pixel */
#define POLL_CELLS   8u /* in text mode */
#define ALIKE        8u /* cells compared at a time, to skip unchanged ones */
#define INDENT       4u /* of a continuation row */

static struct screen_framebuffer framebuffer;
static unsigned columns, rows, x, y; /* rows 0: no screen */
static unsigned top;                 /* the row of `cells` at the top of the screen */
static bool changed;                 /* since screen_poll() last looked */
static uint8_t cells[ROWS_MAX][COLUMNS_MAX], shown[ROWS_MAX][COLUMNS_MAX];

/* For pixels of four bytes: two at a time, which takes a third of the time. */
static void draw_wide(uint8_t *line, uint8_t bits)
{
    static const uint64_t pairs[4] = {0, (uint64_t)PIXEL_COLOUR << 32, PIXEL_COLOUR,
                                      (uint64_t)PIXEL_COLOUR << 32 | PIXEL_COLOUR};
    volatile uint64_t *pixels = (volatile uint64_t *)(volatile void *)line;

    pixels[0] = pairs[bits >> 6];
    pixels[1] = pairs[bits >> 4 & 3];
    pixels[2] = pairs[bits >> 2 & 3];
    pixels[3] = pairs[bits & 3];
}

static void draw_glyph(unsigned row, unsigned column, uint8_t c)
{
    uint8_t *line = framebuffer.base + (size_t)row * CELL_HEIGHT * framebuffer.pitch +
                    (size_t)column * CELL_WIDTH * framebuffer.bytes_per_pixel;

    for (unsigned i = 0; i < CELL_HEIGHT; i++, line += framebuffer.pitch) {
        uint8_t bits = font_row(c, i);

        if (framebuffer.bytes_per_pixel == 4) {
            draw_wide(line, bits);
            continue;
        }
        for (unsigned j = 0; j < CELL_WIDTH; j++) {
            uint32_t colour = bits >> (CELL_WIDTH - 1 - j) & 1 ? PIXEL_COLOUR : 0;
            volatile uint8_t *pixel = line + (size_t)j * framebuffer.bytes_per_pixel;

            pixel[0] = (uint8_t)colour;
            pixel[1] = (uint8_t)(colour >> 8);
            pixel[2] = (uint8_t)(colour >> 16);
        }
    }
}

static void show(unsigned row, unsigned column, uint8_t c)
{
    shown[row][column] = c;
    if (framebuffer.base)
        draw_glyph(row, column, c);
    else
        ((volatile uint16_t *)TEXT_MEMORY)[row * columns + column] = (uint16_t)(TEXT_COLOUR | c);
}

static void start(unsigned new_columns, unsigned new_rows)
{
    columns = new_columns < COLUMNS_MAX ? new_columns : COLUMNS_MAX;
    rows = new_rows < ROWS_MAX ? new_rows : ROWS_MAX;
    x = y = top = 0;
    memset(cells, ' ', sizeof(cells));
    memset(shown, 0, sizeof(shown)); /* unlike any character, so that everything is drawn */
    changed = true;
    screen_flush();
}

void screen_init_text(void)
{
    start(TEXT_COLUMNS, TEXT_ROWS);
}

void screen_init_framebuffer(const struct screen_framebuffer *f)
{
    framebuffer = *f;
    start(f->width / CELL_WIDTH, f->height / CELL_HEIGHT);
}

static void new_line(void)
{
    x = 0;
    if (y + 1 < rows)
        y++;
    else
        top = (top + 1) % rows;
    memset(cells[(top + y) % rows], ' ', columns);
}

/* Printable ASCII, or a character that our font lacks. */
static void put_text(const char *s, size_t n)
{
    while (n) {
        size_t part;

        if (x == columns) {
            new_line();
            x = INDENT;
        }
        part = min_u64(n, columns - x);
        memcpy(&cells[(top + y) % rows][x], s, part);
        x += (unsigned)part;
        s += part;
        n -= part;
    }
}

void screen_write(const char *s, size_t n)
{
    size_t done = 0;

    if (rows == 0 || columns == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        if ((uint8_t)s[i] >= ' ')
            continue;
        put_text(s + done, i - done);
        if (s[i] == '\n')
            new_line();
        done = i + 1;
    }
    put_text(s + done, n - done);
    __atomic_store_n(&changed, true, __ATOMIC_RELEASE);
}

static bool are_alike(const uint8_t a[ALIKE], const uint8_t b[ALIKE])
{
    return get_le64(a) == get_le64(b);
}

/* Draws a limited number of changed characters, all in one row. */
bool screen_poll(void)
{
    static unsigned row, unchanged; /* where to continue; rows since the last difference */
    const unsigned most = framebuffer.base ? POLL_GLYPHS : POLL_CELLS;
    unsigned drawn = 0, r = row;
    const uint8_t *from;

    if (rows == 0 || columns == 0)
        return false;
    if (__atomic_exchange_n(&changed, false, __ATOMIC_ACQUIRE))
        unchanged = 0;
    else if (unchanged >= rows)
        return false;
    from = cells[(top + r) % rows];
    for (unsigned c = 0; c < columns && drawn < most;) {
        if (c + ALIKE <= columns && are_alike(shown[r] + c, from + c)) {
            c += ALIKE;
            continue;
        }
        if (shown[r][c] != from[c]) {
            show(r, c, from[c]);
            drawn++;
        }
        c++;
    }
    unchanged = drawn ? 0 : unchanged + 1;
    if (drawn < most)
        row = (row + 1) % rows;
    return true;
}

void screen_flush(void)
{
    while (screen_poll())
        ;
}
