// The site works without this file. It only saves people from pressing a button twice or too early.

const buttonOf = (form) => form.querySelector('button');

for (const form of document.querySelectorAll('form')) {
  form.addEventListener('submit', () => {
    buttonOf(form).disabled = true;
  });
}

const resend = document.querySelector('form[data-wait]');

function holdBack() {
  const button = buttonOf(resend);
  button.disabled = true;
  setTimeout(() => {
    button.disabled = false;
  }, Number(resend.dataset.wait) * 1000);
}

if (Number(resend?.dataset.wait) > 0) holdBack();

// A page that comes back from the browser's memory comes back as it was left: with its button disabled.
window.addEventListener('pageshow', (event) => {
  if (event.persisted) for (const button of document.querySelectorAll('button')) button.disabled = false;
});

// The next digit replaces a PIN that was refused.
document.querySelector('input.pin[aria-invalid]')?.select();
