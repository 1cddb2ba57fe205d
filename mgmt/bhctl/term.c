/* The terminal: its modes, its size, and signals that must not leave it in disorder. */
#include "mgmt/bhctl/bhctl.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static bool changed, page, plain;
static volatile sig_atomic_t stopped;

static void note(int number)
{
    stopped = number;
}

static void catch_with(void (*handler)(int))
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction action = {.sa_handler = handler};

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        (void)sigaction(numbers[i], &action, NULL);
}

void term_catch(void)
{
    catch_with(note);
}

bool term_stopped(void)
{
    return stopped != 0;
}

int term_signal(void)
{
    return stopped;
}

void term_ignore(void)
{
    catch_with(SIG_IGN);
    stopped = 0;
}

void term_page_begin(void)
{
    /* The alternate screen (xterm's), without a cursor. */
    page = true;
    (void)fputs("\033[?1049h\033[?25l\033[H\033[J", stdout);
    (void)fflush(stdout);
}

void term_restore(void)
{
    if (page) {
        (void)fputs("\033[?25h\033[?1049l", stdout);
        (void)fflush(stdout);
    }
    page = false;
    if (changed)
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    changed = false;
}

bool term_is_raw(void)
{
    return changed && plain;
}

bool term_raw(bool signals)
{
    struct termios raw;

    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before))
        return false;
    raw = before;
    if (signals) {
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        /* A suspended program would leave its screen behind. */
        raw.c_cc[VSUSP] = _POSIX_VDISABLE;
    } else {
        cfmakeraw(&raw);
    }
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    changed = true;
    plain = !signals;
    (void)atexit(term_restore);
    return tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

void term_size(unsigned *columns, unsigned *rows)
{
    struct winsize w;

    *columns = 80;
    *rows = 24;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col && w.ws_row) {
        *columns = w.ws_col;
        *rows = w.ws_row;
    }
}
