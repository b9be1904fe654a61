// Keeps an open page up to date: fetches it again and replaces what has changed.
'use strict';

const seconds = Number(document.body.dataset.refresh);
const gone = document.getElementById('gone');

/** Whether somebody reads, copies or types what a replacement would take away, or nobody looks. */
function isInUse() {
  return document.hidden
    || !getSelection().isCollapsed
    || document.querySelector('main details[open]')
    || document.activeElement.closest('main form');
}

function replace(page) {
  const {scrollX, scrollY} = window;
  const focused = document.activeElement.getAttribute('href');
  for (const id of ['lights', 'main']) {
    document.getElementById(id).replaceChildren(...page.getElementById(id).childNodes);
  }
  if (focused && document.activeElement === document.body) {
    document.querySelector(`main a[href="${CSS.escape(focused)}"]`)?.focus({preventScroll: true});
  }
  scrollTo(scrollX, scrollY);
}

async function look() {
  if (!isInUse()) {
    try {
      const answer = await fetch(location.href, {signal: AbortSignal.timeout(5000)});
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      if (!isInUse()) replace(page);
      gone.hidden = true;
    } catch {
      gone.hidden = false;
    }
    document.body.classList.toggle('gone', !gone.hidden);
  }
  setTimeout(look, seconds * 1000);
}

if (seconds) setTimeout(look, seconds * 1000);
